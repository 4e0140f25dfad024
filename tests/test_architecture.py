"""
The house keeps its shape: who may know whom, and what is reached for where.

Each rule is read from the source by a walk over its syntax trees, nothing is imported for it. A
rule that must give way is changed here, in the open, with its reason.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import attrs
import pytest

import badges_async

ROOT = Path(badges_async.__file__).parent
PACKAGE = "badges_async"


@attrs.frozen
class Import:
    """One imported name: ``from badges_async.models import Badge`` is (models, Badge)."""

    module: str
    name: str
    at_start: bool  # when the module is imported, and not later or for a type checker only


@attrs.frozen(eq=False)
class Module:
    """A module of the package, by its name without the package's."""

    name: str
    tree: ast.Module
    imports: tuple[Import, ...]

    @property
    def ours(self) -> set[str]:
        """Modules of the package that it imports, the tops of the tree as ``cli`` or ``models``."""
        return {
            one.module.removeprefix(PACKAGE).removeprefix(".")
            for one in self.imports
            if one.module.split(".")[0] == PACKAGE
        }

    @property
    def foreign(self) -> set[str]:
        """Top-level packages of others that it imports."""
        return {one.module.split(".")[0] for one in self.imports} - {PACKAGE}

    def is_in(self, *rooms: str) -> bool:
        """Whether it is one of *rooms*, or in a folder of that name."""
        return self.name in rooms or self.name.split(".")[0] in rooms


def read_module(path: Path) -> Module:
    parts = path.relative_to(ROOT).with_suffix("").parts
    tree = ast.parse(path.read_text(encoding="utf-8"))
    name = ".".join(part for part in parts if part != "__init__")
    return Module(name, tree, tuple(imports_of(tree.body, at_start=True)))


def imports_of(body: list[ast.stmt], *, at_start: bool) -> Iterator[Import]:
    for node in body:
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, "", at_start) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports name their module in full"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                # `from badges_async import operations` imports a module.
                is_module = (ROOT.parent / Path(*inner.split("."))).with_suffix(".py").exists()
                yield Import(inner if is_module else str(node.module), alias.name, at_start)
        else:
            later = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or (
                isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
            )
            inside = [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]
            handlers = [child for child in ast.walk(node) if isinstance(child, ast.ExceptHandler)]
            for handler in handlers:
                inside += handler.body
            yield from imports_of(inside, at_start=at_start and not later)


MODULES = {module.name: module for module in map(read_module, sorted(ROOT.rglob("*.py")))}
EVERY = pytest.mark.parametrize(
    "module", MODULES.values(), ids=lambda module: module.name or "init"
)

# What each of these may import of the package; the rest of the world is below.
MAY_KNOW: dict[str, set[str]] = {
    "errors": {"models"},  # for its types only, see test_no_import_goes_in_a_circle
    "enums": set(),
    "models": {"enums"},
    "claims": {"enums", "errors", "models"},
    "messages": set(),
    "scalars": {"errors"},
    "converter": {"errors", "models", "scalars", "thawing"},
    "thawing": set(),
    "envelope": {"errors", "jsontext", "messages", "models"},
    "jsontext": set(),
    "operations": {
        "claims",
        "converter",
        "enums",
        "envelope",
        "errors",
        "messages",
        "models",
        "thawing",
    },
    "timeouts": {"errors"},
    "endpoint": {"errors"},
    "report": {"claims", "enums", "errors"},
    "ports": {"messages"},
    "masked": set(),
    "auth": {"echoes", "envelope", "errors", "masked", "messages", "models"},
    "echoes": {"errors", "masked", "messages"},
    "retry": {"errors"},
    "turns": set(),
    "quota": {"errors", "turns"},
    "gate": set(),
    "throughput": set(),
    "curve": set(),
    "pace": {"curve", "gate", "quota", "throughput", "turns"},
    "admission": {"calls", "errors", "gate", "ledger", "messages", "pace", "quota"},
    "outbox": {"errors"},
    "width": set(),
    "delivery": {"claims", "outbox", "report"},
    "deadlines": set(),
    "connector": set(),
    "failures": {"connector", "errors", "messages"},
    "channel": {"deadlines", "messages"},
    "permits": set(),
    "wire": {
        "channel",
        "connector",
        "deadlines",
        "errors",
        "failures",
        "masked",
        "messages",
        "permits",
    },
    "session_lane": {"connector", "deadlines", "failures", "messages"},
    "lanes": {"errors", "wire"},
    "session": {
        "connector",
        "deadlines",
        "endpoint",
        "errors",
        "lanes",
        "messages",
        "session_lane",
        "timeouts",
        "wire",  # for its type only: it may be missing
    },
    "outage": {"errors"},
}
# Rooms that never await: a decision there is a function of values.
PURE = (
    "claims",
    "converter",
    "endpoint",
    "enums",
    "envelope",
    "errors",
    "jsontext",
    "messages",
    "models",
    "operations",
    "report",
    "retry",
    "scalars",
    "timeouts",
)
# JSON, HTTP and what speaks it.
WIRE = {"aiohttp", "cattrs", "email", "http", "json", "multidict", "orjson", "urllib", "yarl"}


def test_the_walk_sees_the_package() -> None:
    """Or every rule here would hold of nothing."""
    assert {"", "cli.app", "client", "models", "sandbox.server", "session"} <= MODULES.keys()
    assert "models" in MODULES["operations"].ours
    assert "aiohttp" in MODULES["session"].foreign
    assert "sandbox" in MODULES["pytest_plugin"].ours


@pytest.mark.parametrize("name", MAY_KNOW)
def test_a_room_knows_only_the_rooms_below_it(name: str) -> None:
    assert MODULES[name].ours <= MAY_KNOW[name]


LEDGER = sorted(name for name in MODULES if name.startswith("ledger"))


@pytest.mark.parametrize("name", LEDGER)
def test_the_ledger_knows_claims_and_nothing_of_runs(name: str) -> None:
    may_know = {"claims", "enums", "errors", "models", "ports", "report"}
    assert {one for one in MODULES[name].ours if not one.startswith("ledger")} - {""} <= may_know


def test_no_import_goes_in_a_circle() -> None:
    known = {
        name: {
            one.module.removeprefix(PACKAGE + ".")
            for one in module.imports
            if one.at_start and one.module.startswith(PACKAGE + ".")
        }
        for name, module in MODULES.items()
    }
    try:
        TopologicalSorter(known).prepare()
    except CycleError as error:
        pytest.fail(f"imports in a circle: {' -> '.join(error.args[1])}")


def test_the_models_know_nothing_of_json_or_http() -> None:
    for name in ("models", "claims", "enums", "errors", "report"):
        assert not MODULES[name].foreign & WIRE


@pytest.mark.parametrize("name", PURE)
def test_a_room_of_pure_functions_does_not_wait(name: str) -> None:
    assert not MODULES[name].foreign & {"asyncio", "aiohttp"}
    waiting = (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)
    assert not [node for node in ast.walk(MODULES[name].tree) if isinstance(node, waiting)]


def words_of(tree: ast.Module) -> Iterator[str]:
    """Give every name and every text of a module but its docstrings."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        for field in ("id", "attr", "arg", "name", "value"):
            word = getattr(node, field, None)
            if isinstance(word, str) and id(node) not in docstrings:
                yield word


@pytest.mark.parametrize("name", ["session", "connector", "deadlines", "messages"])
def test_what_carries_bytes_never_says_badge(name: str) -> None:
    for word in words_of(MODULES[name].tree):
        said = re.sub("badges_async|badges-async|BadgesError", "", word).lower()  # our own name
        assert "badge" not in said, word
        assert "claim" not in said, word


@EVERY
def test_the_sandbox_knows_models_and_converter_and_never_the_client(module: Module) -> None:
    if module.is_in("sandbox"):
        inner = {name for name in module.ours if name.split(".")[0] == "sandbox"}
        assert module.ours - inner <= {"converter", "enums", "errors", "models"}


@EVERY
def test_nothing_but_the_command_line_and_the_fixtures_knows_the_sandbox(module: Module) -> None:
    if not module.is_in("sandbox", "cli", "pytest_plugin"):
        assert "sandbox" not in {name.split(".")[0] for name in module.ours}


@EVERY
def test_the_command_line_uses_only_what_is_public(module: Module) -> None:
    if not module.is_in("cli"):
        return
    for one in module.imports:
        top, _, rest = one.module.partition(".")
        if top != PACKAGE or rest.split(".")[0] == "cli":
            continue
        assert rest in {"", "converter", "sandbox", "worker"}, one
        if not rest:
            assert one.name in badges_async.__all__ or one.name in {"cli", "__version__"}, one


@EVERY
def test_the_worker_uses_only_what_is_public(module: Module) -> None:
    if not module.is_in("worker"):
        return
    for one in module.imports:
        top, _, rest = one.module.partition(".")
        if top == PACKAGE and rest.split(".")[0] != "worker":
            # Beside the public list the one room for JSON, so that there is one.
            assert rest in {"", "jsontext"}, one
            assert rest or one.name in badges_async.__all__, one


@EVERY
def test_the_library_does_not_know_its_worker(module: Module) -> None:
    if not module.is_in("worker", "cli"):
        assert "worker" not in {name.split(".")[0] for name in module.ours}


@EVERY
def test_the_library_does_not_know_its_command_line(module: Module) -> None:
    if not module.is_in("cli", "__main__"):
        assert not {name for name in module.ours if name.split(".")[0] in {"cli", "__main__"}}


# Who may import what of the world.
ONLY_IN: dict[str, tuple[str, ...]] = {
    "backoff": ("retry",),
    # The demo asks the sandbox, which is no part of the API, what it holds.
    "aiohttp": (
        "session",
        "session_lane",
        "wire",
        "channel",
        "lanes",
        "connector",
        "failures",
        "client",
        "sandbox",
        "cli.proof",
    ),
    "cattrs": ("converter",),
    "orjson": ("jsontext",),
    "cyclopts": ("cli",),
    "redis": (
        "worker.fleet_quota",
        "worker.redis_link",
        "worker.redis_source",
        "worker.redis_stream",
        "cli.fleet.accounts",  # these three for the type of a client only
        "cli.fleet.options",
        "cli.fleet.running",
    ),
    "prometheus_client": ("worker.metrics", "cli"),
    "rich": ("cli",),
    "pytest": ("pytest_plugin",),
    "pytest_asyncio": ("pytest_plugin",),
    "time": ("ports", "session", "sandbox", "cli"),
    "random": (
        "ports",
        "retry",
        "admission",
        "gate",
        "pace",
        "outage",
        "row",
        "sandbox",
        "cli",
    ),
    "sqlite3": ("ledger",),
    "threading": ("cli",),
    "subprocess": ("cli",),
    "requests": (),
    "httpx": (),
}


@pytest.mark.parametrize("library", ONLY_IN)
def test_a_library_is_known_in_its_rooms_only(library: str) -> None:
    users = [module for module in MODULES.values() if library in module.foreign]
    assert [module.name for module in users if not module.is_in(*ONLY_IN[library])] == []


def test_only_what_is_installed_is_imported_at_the_start() -> None:
    """The extras may be missing; neither the package nor its worker's rooms mind."""
    core = {"aiohttp", "attrs", "backoff", "cattrs", "multidict", "yarl"}
    extras = {"cyclopts", "orjson", "pytest", "pytest_asyncio", "redis", "rich", "uvloop"}
    extras |= {"hiredis", "prometheus_client"}
    for module in MODULES.values():
        if module.is_in("cli", "pytest_plugin"):
            continue
        at_start = {one.module.split(".")[0] for one in module.imports if one.at_start}
        # The one room that does without it, see test_jsontext.
        allowed = {"orjson"} if module.is_in("jsontext") else set()
        if module.is_in(*ONLY_IN["redis"], "worker.metrics"):  # imported when they are asked for
            allowed = {"redis", "prometheus_client"}
        assert not at_start & (extras - core - allowed), module.name


def uses(tree: ast.AST, owner: str, *names: str) -> list[ast.Attribute]:
    """Give every ``owner.name``; of any name if none is given."""
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == owner
        and (not names or node.attr in names)
    ]


def test_time_and_chance_are_handed_in() -> None:
    """A simulation replaces them; what reaches for them itself would slip out of it."""
    for name in ("retry", "gate", "pace", "outage", "admission"):
        # `random.Random` is the type of what is handed in; nobody makes or asks another.
        tree = MODULES[name].tree
        made = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        assert {use.attr for use in uses(tree, "random")} == {"Random"}
        assert not [node for node in made if ast.unparse(node.func) == "random.Random"]
    [wall] = uses(MODULES["session"].tree, "time")
    assert wall.attr == "time"
    for module in MODULES.values():
        if not module.is_in("sandbox", "cli"):
            calls = [node for node in ast.walk(module.tree) if isinstance(node, ast.Call)]
            called = {ast.unparse(call.func) for call in calls}
            assert not {name for name in called if name.startswith(("time.", "datetime.now"))}


@EVERY
def test_the_environment_is_read_in_one_place_of_the_library(module: Module) -> None:
    if not module.is_in("client", "cli", "__main__"):
        assert not uses(module.tree, "os", "environ", "getenv")


@EVERY
def test_only_the_command_line_prints(module: Module) -> None:
    if module.is_in("cli", "__main__"):
        return
    called = [node.func for node in ast.walk(module.tree) if isinstance(node, ast.Call)]
    assert not [f for f in called if isinstance(f, ast.Name) and f.id in {"print", "input"}]
    assert not uses(module.tree, "sys", "stdout", "stderr", "stdin", "exit")


@EVERY
def test_every_task_has_a_parent_and_no_cancellation_is_swallowed(module: Module) -> None:
    """`asyncio.wait_for` loses one on Python 3.11; a task without a group outlives its call."""
    assert not uses(module.tree, "asyncio", "wait_for", "ensure_future", "create_task", "gather")
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and node.attr == "create_task":
            assert "group" in ast.unparse(node.value), ast.unparse(node)
        if isinstance(node, ast.ExceptHandler) and node.type is not None:
            caught = ast.unparse(node.type)
            if "CancelledError" in caught or "BaseException" in caught:
                raises = [inner for inner in ast.walk(node) if isinstance(inner, ast.Raise)]
                assert raises, f"{module.name}:{node.lineno} keeps a cancellation to itself"
        assert not (isinstance(node, ast.ExceptHandler) and node.type is None)


@EVERY
def test_a_module_says_what_belongs_in_it(module: Module) -> None:
    assert ast.get_docstring(module.tree)


@EVERY
def test_a_module_can_be_held_in_the_head(module: Module) -> None:
    """About 300 lines to a file and 40 to a function, docstrings included."""
    path = ROOT.joinpath(*module.name.split(".")) if module.name else ROOT
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 370
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            length = (node.end_lineno or 0) - body[0].lineno if body else 0
            assert length <= 50, f"{module.name}.{node.name}"
