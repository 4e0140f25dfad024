"""What users may build on: one list, documented, typed, and as the contract says."""

from __future__ import annotations

import inspect
import subprocess
import sys
from importlib.resources import files

import attrs
import pytest

import badges_async
from badges_async import converter, sandbox
from badges_async.errors import BadgesError

PUBLIC = {name: getattr(badges_async, name) for name in badges_async.__all__}


def test_the_list_is_sorted_and_without_repetition() -> None:
    assert sorted(set(badges_async.__all__)) == list(badges_async.__all__)


def test_the_list_is_complete() -> None:
    """What is imported there is meant to be public, and modules are not part of it."""
    there = {
        name
        for name, value in vars(badges_async).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert there == {name for name in badges_async.__all__ if not name.startswith("_")}


def test_every_error_is_public() -> None:
    def tree(cls: type[BadgesError]) -> set[type[BadgesError]]:
        return {cls}.union(*map(tree, cls.__subclasses__()))

    ours = {cls for cls in tree(BadgesError) if cls.__module__ == "badges_async.errors"}
    assert ours == {
        value
        for value in PUBLIC.values()
        if inspect.isclass(value) and issubclass(value, BadgesError)
    }


CLASSES = {name: value for name, value in PUBLIC.items() if inspect.isclass(value)}


@pytest.mark.parametrize("name", CLASSES)
def test_every_public_class_and_method_is_documented(name: str) -> None:
    cls = CLASSES[name]
    assert "__doc__" in vars(cls)
    assert inspect.getdoc(cls)
    for method, value in vars(cls).items():
        inner = getattr(value, "fget", None) or getattr(value, "__func__", None) or value
        if not method.startswith("_") and inspect.isfunction(inner):
            assert inspect.getdoc(inner), f"{name}.{method}"


def signature(value: object) -> str:
    """Give names, kinds and defaults of the parameters, without types and without ``self``."""
    assert callable(value)
    parameters = [
        parameter.replace(annotation=inspect.Parameter.empty)
        for parameter in inspect.signature(value).parameters.values()
        if parameter.name != "self"
    ]
    return str(inspect.Signature(parameters))


# Options come after a star: they are named by whoever passes them.
CONTRACT = {
    "BadgesClient": (
        "(host, auth, *, timeout=Timeout(total=60.0, attempt=15.0, connect=5.0),"
        " retry=RetryPolicy(max_attempts=5, base=0.2, cap=20.0), quota=None, max_connections=100,"
        " lane='auto', session=None, observers=(), ssl=None, ports=None)"
    ),
    "BadgesClient.from_env": "(**overrides)",
    "BadgesClient.close": "()",
    "BadgesClient.get_badge": (
        "(badge_id, *, include_statistics=None, limit=None, order=None, timeout=None)"
    ),
    "BadgesClient.claim": "(badge_id, owner_type, reference_id, *, timeout=None)",
    "BadgesClient.unclaim": "(badge_id, owner_type, reference_id, *, timeout=None)",
    "BadgesClient.claim_many": (
        "(requests, *, concurrency=16, ledger=None, outage_patience=600.0)"
    ),
    "BadgesClient.claim_all": (
        "(requests, *, concurrency=16, ledger=None, on_outcome=None, outage_patience=600.0)"
    ),
    "BasicAuth": "(username, password)",
    "OAuth": "(client_key, client_secret)",
    "ClaimRequest": "(badge_id, owner_type, reference_id)",
    "ClaimRequest.for_badges": "(badge_ids, owner_type, reference_id)",
    "Timeout": "(total=60.0, attempt=15.0, connect=5.0)",
    "RetryPolicy": "(max_attempts=5, base=0.2, cap=20.0)",
    "Quota": "(limit, per=60.0)",
    "Quota.parse": "(text)",
    "Notice": "(code, message, reference=None)",
    "ClaimResult": (
        "(badge_id, claim, already_claimed=False, warnings=(), request_id=None, attempts=1)"
    ),
    "ClaimOutcome": "(request, status, result=None, error=None, attempts=0, recovered=False)",
}


@pytest.mark.parametrize("name", CONTRACT)
def test_a_call_has_the_parameters_of_the_contract(name: str) -> None:
    first, *rest = name.split(".")
    value = PUBLIC[first]
    for part in rest:
        value = getattr(value, part)
    assert signature(value) == CONTRACT[name]


def test_a_claim_has_the_parameters_of_the_contract() -> None:
    """Its other parameter keeps the keys that nobody has documented yet."""
    assert signature(badges_async.Claim).startswith(
        "(owner_type, reference_id, is_active=None, badge_meta_id=None, *, extra="
    )


FACTS = {
    "BadgesError": {"maybe_applied", "attempts"},
    "APIError": {"status", "code", "message", "reference", "errors", "warnings", "request_id"},
    "RateLimitedError": {"retry_after"},
    "UnreadableReplyError": {"status", "request_id", "body"},
    "DeadlineError": {"retry_after"},
}
REPORT = {
    "counts",
    "recovered",
    "skipped",
    "retries",
    "throttled",
    "errors",
    "elapsed",
    "claims_per_second",
    "ok",
}


@pytest.mark.parametrize("name", FACTS)
def test_an_error_has_the_facts_of_the_contract(name: str) -> None:
    assert FACTS[name] <= vars(PUBLIC[name]("what happened")).keys()


def test_a_report_has_the_sums_of_the_contract() -> None:
    assert all(hasattr(badges_async.BulkReport, name) for name in REPORT)


def test_an_attempt_event_has_the_facts_of_the_contract() -> None:
    fields = {field.name for field in attrs.fields(badges_async.AttemptEvent)}
    assert {"operation", "badge_id", "attempt", "status", "error", "seconds", "waits"} <= fields
    assert hasattr(badges_async.AttemptEvent, "waited")


def test_the_public_modules_have_what_the_contract_names() -> None:
    assert signature(converter.structure) == "(data, cls)"
    assert signature(converter.unstructure) == "(value)"
    for name in ("structure", "unstructure"):
        assert name in converter.__all__
    options = inspect.signature(sandbox.Sandbox).parameters.values()
    defaults = {option.name: option.default for option in options}
    assert {option.kind for option in options} == {inspect.Parameter.KEYWORD_ONLY}
    assert {
        "port": 0,
        "username": "till.demo",
        "password": "s3cret-Pass",
        "client_key": "demo-key",
        "client_secret": "demo-secret",
        "quota": None,
        "latency": 0.0,
        "faults": None,
        "seed": 0,
        "already_claimed": "warning",
    }.items() <= defaults.items()
    assert all(hasattr(sandbox.Sandbox, name) for name in ("url", "badges", "claims", "requests"))


def test_types_are_shipped() -> None:
    assert (files("badges_async") / "py.typed").is_file()


def loaded_after(statement: str) -> set[str]:
    """Give the modules that *statement* loads in a new interpreter."""
    # What is there before is not ours: coverage, for one, starts in every process of a test run.
    code = f"import sys\nbefore = set(sys.modules)\n{statement}\nprint(*set(sys.modules) - before)"
    run = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(run, check=True, capture_output=True, text=True, timeout=25)  # noqa: S603
    assert not done.stderr
    return set(done.stdout.split())


def test_importing_the_package_loads_neither_its_extras_nor_its_tools() -> None:
    loaded = loaded_after("import badges_async")

    assert "badges_async.client" in loaded
    tools = {"badges_async.sandbox", "badges_async.cli", "badges_async.pytest_plugin"}
    extras = {"rich", "cyclopts", "pytest", "uvloop", "aiohttp.web", "unittest"}
    assert not loaded & (tools | extras)


def test_the_plugin_loads_nothing_of_ours_before_a_fixture_is_asked_for() -> None:
    """Every pytest run of an environment that has the package loads it."""
    loaded = loaded_after("import pytest_asyncio, badges_async.pytest_plugin")
    assert "badges_async.sandbox" not in loaded
