"""The fixtures that come with the package, in a project of a user's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import badges_async

pytest_plugins = ["pytester"]

USES = """
    import pytest

    @pytest.fixture
    def badges_sandbox_options():
        return {"badges": ["b1"], "password": "other"}

    {mark}
    async def test_sandbox(badges_sandbox):
        assert badges_sandbox.url.startswith("http://127.0.0.1:")
        assert "b1" in badges_sandbox.badges

    {mark}
    async def test_client(badges_client, badges_sandbox):
        await badges_client.claim("b1", "Loyalty", "7")
        assert ("b1", "Loyalty", "7") in badges_sandbox.claims
"""


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "mark"), [("auto", ""), ("strict", "@pytest.mark.asyncio")])
def test_the_fixtures_work_in_both_modes_of_pytest_asyncio(
    pytester: pytest.Pytester, mode: str, mark: str
) -> None:
    pytester.makeini(
        f"[pytest]\nasyncio_mode = {mode}\nfilterwarnings = error\n"
        "asyncio_default_fixture_loop_scope = function\n"
    )
    pytester.makepyfile(USES.replace("{mark}", mark))

    result = pytester.runpytest_subprocess("-p", "no:randomly")

    result.assert_outcomes(passed=2)


def run(code: str) -> tuple[int, str]:
    """Run Python in a fresh interpreter."""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  (ours)
    return done.returncode, done.stderr


def test_the_plugin_itself_loads_nothing_large() -> None:
    # The package's own list of names is left out of it: what that loads is its business.
    code = (
        "import sys, types\n"
        "package = types.ModuleType('badges_async')\n"
        f"package.__path__ = [{str(Path(badges_async.__file__).parent)!r}]\n"
        "sys.modules['badges_async'] = package\n"
        "import badges_async.pytest_plugin\n"
        "ours = [name for name in sys.modules if name.startswith('badges_async.')]\n"
        "heavy = {'aiohttp', 'attr', 'cattrs'} & sys.modules.keys()\n"
        "sys.exit(str((ours, heavy)) if heavy or len(ours) > 1 else 0)"
    )
    assert run(code) == (0, "")


def test_the_plugin_loads_without_pytest_asyncio() -> None:
    code = (
        "import sys\n"
        "sys.modules['pytest_asyncio'] = None\n"
        "import badges_async.pytest_plugin as plugin\n"
        "assert plugin.badges_sandbox\n"
    )
    assert run(code) == (0, "")
