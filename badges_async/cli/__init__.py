"""
The command line tool `badges-async`: parse, call, print.

The only place of the package that prints, and a caller like any other: it uses what
`badges_async` and `badges_async.sandbox` export, and nothing behind that. Importing this package
imports nothing else; `badges_async.__main__` looks first whether the extra ``cli`` is installed.

```text
app         the commands and their options; errors become one line and an exit code
commands    bulk-claim and ledger as they are typed
options     host and credentials, and how a client is made; how a file is to be claimed
files       a file of claims, read as a stream: lines, csv_rows, jsonl_rows, rows
feed        rows on their way into a run
loops       the event loop and the signals that end a run
bulk        bulk-claim; ending: how it went       check   bulk-claim --dry-run
running     a run from its first row to its end   keeper  the ledger that it keeps
tally       what the report and the summary tell beyond the library's sums
progress    while it runs (stderr)                summary at the end (stdout)
matching    what repeats, what a ledger knows     ledger  the command; export, escapes: its CSV
headway     how far it is, how long it takes      standing where a ledger stands, in a line
record      --report run.json, --problems rows.jsonl
page        --report run.html: tables, charts; plots, axes, markup, style: how these are drawn
timeline    what happened when                    waiting  where the time went
single      get, claim, unclaim
service     sandbox                               demo, proof  the main job, shown and proved
fleet       worker: run, enqueue, status, dlq     (a package of its own, with its own map)
```
"""
