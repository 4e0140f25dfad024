"""Every Python block of README.md runs, against the sandbox, as it stands there."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from faststream.rabbit import TestRabbitBroker
from httpx import ASGITransport, AsyncClient

from badges_async.sandbox import Sandbox

README = Path(__file__).parent.parent / "README.md"
BADGE = "662749408fe258516a88fe89"
RECIPES = dict(
    re.findall(
        r"<!-- runs as a test: (.*?) -->\n```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL
    )
)


@pytest.fixture
async def account(badges_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """Make the environment that of the sandbox, as `from_env()` reads it."""
    monkeypatch.delenv("BADGES_CLIENT_KEY", raising=False)
    monkeypatch.delenv("BADGES_CLIENT_SECRET", raising=False)
    monkeypatch.setenv("BADGES_HOST", badges_sandbox.url)
    monkeypatch.setenv("BADGES_USERNAME", badges_sandbox.username)
    monkeypatch.setenv("BADGES_PASSWORD", badges_sandbox.password)
    return badges_sandbox


async def run(*arguments: str | Path, folder: Path) -> str:
    """Run Python as a user does, warnings shown as errors; give what it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *map(str, arguments),
        cwd=folder,
        env={**os.environ, "PYTHONWARNINGS": "error"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    printed, complained = await process.communicate()
    assert process.returncode == 0, printed.decode() + complained.decode()
    return printed.decode()


async def run_recipe(name: str, folder: Path, **replaced: str) -> str:
    """Run a recipe that is a whole program."""
    text = RECIPES[name]
    for old, new in replaced.items():
        assert old in text
        text = text.replace(old, new)
    script = folder / "recipe.py"
    script.write_text(text, "utf-8")
    return await run(script, folder=folder)


def load_recipe(name: str) -> Any:
    """Load a recipe that is a module, where its annotations can be resolved."""
    module = ModuleType("recipe_" + re.sub(r"\W", "_", name))
    sys.modules[module.__name__] = module
    exec(compile(RECIPES[name], f"README.md: {name}", "exec"), module.__dict__)  # noqa: S102
    return module


def test_every_python_block_runs_as_a_test() -> None:
    blocks = README.read_text("utf-8").count("```python\n")
    tested = Path(__file__).read_text("utf-8")
    assert len(RECIPES) == blocks
    assert [name for name in RECIPES if f'"{name}"' not in tested] == []


async def test_one_call(account: Sandbox, tmp_path: Path) -> None:
    text = RECIPES["one call"]
    text = text.replace("eu.api.capillarytech.com", account.url)
    text = text.replace('"till", "password"', f'"{account.username}", "{account.password}"')
    script = tmp_path / "recipe.py"
    script.write_text(text, "utf-8")
    assert await run(script, folder=tmp_path) == "False True\n"
    assert (BADGE, "Loyalty", "123") in account.claims


async def test_bulk_from_a_file(account: Sandbox, tmp_path: Path) -> None:
    rows = "\n".join(f"{BADGE},Loyalty,{number:03}" for number in range(60))
    table = f"\ufeffbadge_id,owner_type,reference_id\n{rows}\n{BADGE},Journeys,1\n"
    (tmp_path / "claims.csv").write_text(table, "utf-8")
    printed = await run_recipe("bulk from a file", tmp_path)
    assert "Journeys" in printed
    assert "code 714" in printed
    assert {(BADGE, "Loyalty", f"{number:03}") for number in range(60)} <= set(account.claims)


async def test_a_run_that_can_be_killed(account: Sandbox, tmp_path: Path) -> None:
    name = "a run that can be killed"
    badges = f'["{BADGE}"]'
    replaced = {'[f"{number:024x}" for number in range(1, 101)]': badges}
    assert (await run_recipe(name, tmp_path, **replaced)).startswith("1 0 True\n")
    assert (await run_recipe(name, tmp_path, **replaced)).startswith("0 1 True\n")
    assert (BADGE, "Loyalty", "123") in account.claims


async def test_bulk_from_an_async_generator(account: Sandbox, tmp_path: Path) -> None:
    assert await run_recipe("bulk from an async generator", tmp_path) == "250 0 True\n"
    assert (BADGE, "Loyalty", "member-249") in account.claims


@pytest.mark.usefixtures("account")
async def test_each_error(tmp_path: Path) -> None:
    printed = await run_recipe("each error", tmp_path)
    new, unknown, slash, dots = printed.splitlines()
    assert new == "new"
    assert unknown == slash == "no such badge"
    assert dots.startswith("our bug, nothing was sent")


@pytest.mark.usefixtures("account")
async def test_fastapi() -> None:
    app = load_recipe("fastapi").app
    async with (
        app.router.lifespan_context(app),
        AsyncClient(transport=ASGITransport(app), base_url="http://test") as browser,
    ):
        first = await browser.post(f"/badges/{BADGE}/claims/7")
        again = await browser.post(f"/badges/{BADGE}/claims/7")
        unknown = await browser.post("/badges/nobody/claims/7")
    assert (first.json(), again.json()) == ({"new": True}, {"new": False})
    assert unknown.status_code == 422


@pytest.mark.usefixtures("account")
async def test_aiohttp_web() -> None:
    app = load_recipe("aiohttp.web").app
    async with TestClient(TestServer(app)) as browser:
        first = await browser.post(f"/badges/{BADGE}/claims/7")
        again = await browser.post(f"/badges/{BADGE}/claims/7")
        assert (await first.json(), await again.json()) == ({"new": True}, {"new": False})


async def test_a_worker(
    account: Sandbox, redis_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BADGES_REDIS_URL", redis_url)
    assert await run_recipe("a worker", tmp_path) == "50 {}\n"
    assert (BADGE, "Loyalty", "49") in account.claims


async def test_faststream(account: Sandbox) -> None:
    recipe = load_recipe("faststream")
    good = f'{{"badgeId": "{BADGE}", "ownerType": "Loyalty", "referenceId": "7"}}'
    async with recipe.lifespan(), TestRabbitBroker(recipe.broker) as broker:
        await broker.publish(good, "claims")
        assert (BADGE, "Loyalty", "7") in account.claims
        for bad in ("nonsense", good.replace(BADGE, "0" * 24)):
            await broker.publish(bad, "claims")
        assert (await recipe.source.is_empty(), recipe.source.letters) == (True, [])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fixtures", "aioresponses"])
async def test_recipes_for_tests(name: str, tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nasyncio_default_fixture_loop_scope = function\n", "utf-8"
    )
    script = tmp_path / "test_recipe.py"
    script.write_text(RECIPES[name], "utf-8")
    printed = await run("-m", "pytest", "-q", "-p", "no:randomly", script, folder=tmp_path)
    assert "1 passed" in printed


def test_the_quick_start_and_the_checks_are_each_one_line() -> None:
    lines = README.read_text("utf-8").splitlines()
    assert sum(line.endswith("badges-async demo") and "pip install" in line for line in lines) == 1
    assert sum(line.endswith("bin/pytest -n auto") and "pip install" in line for line in lines) == 1
