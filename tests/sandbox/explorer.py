"""
Schemathesis against one URL, as a process of its own: ``python explorer.py '{"url": ...}'``.

It prints one JSON object: what failed, what was dropped as explained, and how often each check ran.
A process of its own, because Schemathesis exchanges parts of Hypothesis when it is imported: other
property tests in the process would no longer print their falsifying examples.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from typing import Any

import schemathesis
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.engine import events, from_schema

# Failures of a check that are none, by the check's title: the codes of the answers, and why.
EXPLAINED = {
    # Whether a badge is for an owner type (714) and whether there is a claim to end (737) is in
    # what the sandbox holds, no schema can say it. That these are a 400 is the sandbox's choice:
    # the service's status is not documented for either.
    "Schema-valid request rejected": {714, 737},
}


def make_config(options: dict[str, Any]) -> schemathesis.Config:
    """Turn everything on; only a limit on the time of an answer stays off, the machine decides."""
    phases = ("examples", "coverage", "fuzzing", "stateful")
    return schemathesis.Config.from_dict(
        {
            "seed": options["seed"],
            "workers": 1,
            "continue-on-failure": True,
            "cache": {"enabled": False},
            "auth": {"openapi": options["auth"]},
            "generation": {"max-examples": options["examples"], "database": "none"},
            "phases": {phase: {"enabled": phase in options["phases"]} for phase in phases},
            "checks": {"enabled": True},
        }
    )


class Findings:
    """What a run says, sorted."""

    def __init__(self) -> None:
        self.failed: set[str] = set()
        self.explained: Counter[str] = Counter()
        self.checks: Counter[str] = Counter()

    def keep(self, _context: Any, failure: Any, _case: Any, response: Any) -> bool:
        """Say whether a failure is one."""
        if failure.title not in EXPLAINED:
            return True
        codes = {error["code"] for error in json.loads(response.content)["errors"]}
        if not codes <= EXPLAINED[failure.title]:
            return True
        self.explained.update(map(str, codes))
        return False

    def take(self, event: Any) -> None:
        """Read one event of the engine."""
        if isinstance(event, events.NonFatalError):
            self.failed.add(f"{event.label}: {event.value!r}")
        elif isinstance(event, events.FatalError):
            self.failed.add(repr(event.exception))
        elif isinstance(event, events.ScenarioFinished):
            for check in (one for several in event.recorder.checks.values() for one in several):
                self.checks[check.name] += 1
                if info := check.failure_info:
                    self.failed.add(f"{check.name}: {info.failure.message}\n{info.code_sample}")


def main() -> None:
    """Run what the first argument asks for."""
    options = json.loads(sys.argv[1])
    schema = schemathesis.openapi.from_url(
        f"{options['url']}/sandbox/openapi.json", config=make_config(options)
    )
    findings = Findings()
    schema.hooks.register_hook_with_name(findings.keep, "filter_failure")
    for event in from_schema(schema).execute():
        findings.take(event)
    load_all_checks()
    report = {
        "failed": sorted(findings.failed),
        "explained": findings.explained,
        "checks": findings.checks,
        "unused": sorted(set(CHECKS.get_all_names()) - set(findings.checks)),
    }
    sys.stdout.write(json.dumps(report))


if __name__ == "__main__":
    main()
