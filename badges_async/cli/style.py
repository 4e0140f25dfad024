"""
How the page of a run looks: one style sheet, for light and dark, for paper and for a phone.

The colours are those of Okabe and Ito, which people who see few colours can tell apart; in the dark
they are lighter. Nothing is told by a colour alone.
"""

from __future__ import annotations

__all__ = ["STYLE"]

STYLE = """
:root {
  color-scheme: light dark;
  --page: #f6f7f9; --card: #fff; --ink: #1b2129; --soft: #5b6673; --rule: #e1e5ea;
  --grid: #e6e9ee; --good: #00704f; --bad: #b23c00; --warn: #8a5a00; --hover: #1b21291a;
  --blue: #0072b2; --sky: #7cc4ee; --green: #009e73; --orange: #e69f00; --red: #d55e00;
  --pink: #cc79a7; --yellow: #e8d92b; --grey: #c9d0d8; --pause: #8a94a140;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #12161c; --card: #1a2028; --ink: #e4e9ef; --soft: #98a4b2; --rule: #2b333e;
    --grid: #2a323c; --good: #4cc9a0; --bad: #ff8a50; --warn: #f0b840; --hover: #ffffff1f;
    --blue: #3d9fd8; --sky: #9fd6f5; --green: #2bb68c; --orange: #e9a820; --red: #ea7436;
    --pink: #d78db5; --yellow: #ebdf55; --grey: #46505d; --pause: #98a4b240;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; padding: 2rem 1rem 3rem; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
  font-variant-numeric: tabular-nums; -webkit-text-size-adjust: 100%;
}
main { max-width: 66rem; margin: 0 auto; }
h1 { margin: 0; font-size: 1.75rem; line-height: 1.25; overflow-wrap: anywhere; }
h2 { margin: 0 0 1rem; font-size: 1.05rem; }
p { margin: 0; }
.soft, .eyebrow, footer { color: var(--soft); }
.eyebrow { font-size: .85rem; }
.verdict {
  margin: 1.25rem 0 1rem; padding: .8rem 1rem; border-left: 4px solid; border-radius: 4px;
  background: var(--card); font-weight: 600; overflow-wrap: anywhere;
}
.verdict.good { color: var(--good); }
.verdict.bad { color: var(--bad); }
.verdict.warn { color: var(--warn); }
section, .tiles { margin: 1rem 0; }
section { padding: 1.25rem; background: var(--card); border: 1px solid var(--rule);
  border-radius: 8px; }
.tiles { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); }
.tile { padding: .8rem 1rem; background: var(--card); border: 1px solid var(--rule);
  border-radius: 8px; }
.tile dt { color: var(--soft); font-size: .85rem; }
.tile dd { margin: 0; font-size: 1.45rem; font-weight: 600; line-height: 1.3; }
.tile dd + dd { font-size: .85rem; font-weight: 400; color: var(--soft); }
.scroll { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; }
caption { text-align: left; color: var(--soft); padding-bottom: .5rem; }
th, td { padding: .35rem .75rem .35rem 0; text-align: left; vertical-align: baseline;
  border-bottom: 1px solid var(--rule); }
tbody tr:last-child > * { border-bottom: 0; }
thead th { color: var(--soft); font-size: .85rem; font-weight: 500; white-space: nowrap; }
tbody th { width: 1%; padding-right: 1.5rem; font-weight: 500; white-space: nowrap; }
.n { width: 1%; padding-left: 1rem; padding-right: 1rem; text-align: right; white-space: nowrap; }
.id { min-width: 14.5rem; font-size: .9em; overflow-wrap: anywhere; }
.text { overflow-wrap: anywhere; min-width: 9rem; }
.none > * { color: var(--soft); }
.bar { display: block; width: 100%; height: 28px; margin-bottom: 1rem; border-radius: 4px; }
.key { display: inline-block; width: .75rem; height: .75rem; margin-right: .5rem;
  border-radius: 2px; background: currentColor; }
.key.p50, .key.p95 { height: 3px; margin-bottom: .25rem; border-radius: 0; }
.legend { display: flex; flex-wrap: wrap; gap: .1rem 1.1rem; margin: 0; padding: 0;
  list-style: none; font-size: .85rem; }
.legend .key { margin-right: .4rem; }
figure { margin: 0; break-inside: avoid; }
figure + figure { margin-top: 1.75rem; }
.head { display: flex; flex-wrap: wrap; justify-content: space-between; gap: .1rem 1.5rem;
  margin-bottom: .75rem; }
figcaption span { color: var(--soft); }
.plot { height: 11rem; margin: 0 1.25rem 3rem 3.75rem; }
.plot > svg { display: block; width: 100%; height: 100%; overflow: visible; }
.plot text { fill: var(--soft); font-size: 12px; }
.plot .y { text-anchor: end; }
.plot .x { text-anchor: middle; }
.plot .clock { opacity: .75; }
.grid { stroke: var(--grid); shape-rendering: crispEdges; }
.area, rect.pause, .bar rect { fill: currentColor; }
.line { fill: none; stroke: currentColor; stroke-width: 2; stroke-linejoin: round;
  vector-effect: non-scaling-stroke; }
.hint rect { fill: transparent; }
.hint:hover rect { fill: var(--hover); }
.claimed, .sent, .p50, .cause-service { color: var(--blue); }
.already_claimed, .cause-quota { color: var(--sky); }
.failed, .lost, .cause-gate { color: var(--orange); }
.rejected, .throttled, .cause-backoff { color: var(--red); }
.p95, .cause-slot { color: var(--pink); }
.cause-pace { color: var(--green); }
.cause-token { color: var(--yellow); }
.cause-ledger { color: var(--soft); }
.skipped, .bad_rows, .unsettled, .cause-other { color: var(--grey); }
.pause { color: var(--pause); }
.between { color: var(--pink); opacity: .18; }
tbody th .key { vertical-align: baseline; }
details { margin-top: 1rem; }
summary { cursor: pointer; color: var(--soft); }
details[open] summary { margin-bottom: .75rem; }
footer { margin-top: 1.5rem; font-size: .85rem; }
@media (max-width: 40rem) {
  body { padding: 1.25rem .75rem 2rem; }
  h1 { font-size: 1.4rem; }
  section { padding: 1rem .85rem; }
  .tiles { grid-template-columns: repeat(2, 1fr); gap: .6rem; }
  .tile dd { font-size: 1.2rem; }
  .plot { height: 9rem; margin-left: 2.9rem; margin-right: .75rem; }
  .odd { display: none; }
  .n { padding-left: .4rem; padding-right: .4rem; }
  .text { min-width: 5.5rem; }
  tbody th { min-width: 6rem; padding-right: .5rem; white-space: normal; }
  section table { font-size: .85rem; }
}
@media print {
  :root { --page: #fff; --card: #fff; --ink: #000; --soft: #444; --rule: #ccc; --grid: #ddd; }
  body { padding: 0; font-size: 11px; print-color-adjust: exact;
    -webkit-print-color-adjust: exact; }
  section, .tile { border-color: #ccc; break-inside: avoid; }
  section.long { break-inside: auto; }
  tr { break-inside: avoid; }
}
"""
