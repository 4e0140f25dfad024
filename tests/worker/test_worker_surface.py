"""What users of the worker may build on, and what they are told where the extra is missing."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

from badges_async import worker

PUBLIC = {name: getattr(worker, name) for name in worker.__all__}


def test_the_list_is_sorted_and_complete() -> None:
    assert sorted(set(worker.__all__)) == list(worker.__all__) == dir(worker)
    there = {
        name
        for name, value in vars(worker).items()
        if getattr(value, "__module__", "").startswith("badges_async.worker.")
    }
    assert there <= set(worker.__all__)


@pytest.mark.parametrize("name", PUBLIC)
def test_everything_public_is_documented(name: str) -> None:
    value = PUBLIC[name]
    assert inspect.getdoc(value)
    if not inspect.isclass(value):
        return
    assert "__doc__" in vars(value)
    for method, member in vars(value).items():
        inner = getattr(member, "fget", None) or getattr(member, "__func__", None) or member
        if not method.startswith("_") and inspect.isfunction(inner):
            assert inspect.getdoc(inner), f"{name}.{method}"


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'KafkaSource'"):
        _ = worker.KafkaSource


@pytest.mark.parametrize("name", ["RedisSource", "FleetQuota", "connect"])
def test_without_the_extra_the_rest_works_and_the_error_says_what_to_install(name: str) -> None:
    program = f"""
import sys
sys.modules["redis"] = None
from badges_async.worker import ClaimWorker, MemorySource
try:
    from badges_async.worker import {name}
except ImportError as error:
    print(error)
"""
    done = subprocess.run(  # noqa: S603 - this interpreter
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{name} needs redis: pip install 'badges_async[worker]'\n"


def test_a_fault_of_ours_is_not_taken_for_a_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(worker._EXTRA, "Broken", "no_such_room")  # noqa: SLF001
    with pytest.raises(ModuleNotFoundError, match=r"badges_async\.worker\.no_such_room"):
        _ = worker.Broken
