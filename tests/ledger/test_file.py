"""The file of a ledger: how it comes to be, and what is refused and left as it is."""

# ruff: noqa: ASYNC221, ASYNC240, SLF001 - nothing else runs on the loop; what is open is seen by nobody else

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from badges_async.errors import (
    InvalidInputError,
    LedgerCorruptError,
    LedgerError,
    LedgerLockedError,
    LedgerMismatchError,
    LedgerVersionError,
)
from badges_async.ledger import Ledger, LedgerReader, connection, schema
from tests.ledger.support import (
    ACCOUNT,
    beside,
    child,
    claims,
    contents,
    entries,
    killed,
    remove,
    running,
    touch,
)
from tests.ledger.support import settle_all as claim_all

ODD_NAMES = [
    "plain.db",
    "with blanks .db",
    "what?mode=ro&immutable=1.db",
    "50%25 off#1.db",
    "Größe 你好 🐕.db",
    "'quoted\" ;--.db",
    "file:run.db",
    ":memory:",
    "-rf",
    "new\nline.db",
    "no-suffix",
    os.fsdecode(b"latin-\xe9.db"),
]


@pytest.mark.parametrize("name", ODD_NAMES, ids=ascii)
async def test_a_ledger_may_have_any_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    async with running(path) as ledger:
        await claim_all(ledger, claims(1, 2))
        assert set(entries(path)) == {"1", "2"}
        assert {file.name for file in tmp_path.iterdir()} == {
            name + suffix for suffix in ("", "-wal", "-shm", "-lock")
        }
    assert set(entries(path)) == {"1", "2"}
    assert {file.name for file in tmp_path.iterdir()} == {name, name + "-lock"}


async def test_its_files_are_for_their_owner_only(tmp_path: Path) -> None:
    """F132: whatever the umask; who asks stands in them as a fingerprint only."""
    before = os.umask(0)
    try:
        async with running(tmp_path / "run.db") as ledger:
            await claim_all(ledger, claims(1))
            modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
        assert not any(ACCOUNT.encode() in file.read_bytes() for file in tmp_path.iterdir())
    finally:
        os.umask(before)
    assert len(modes) == 4
    assert set(modes.values()) == {0o600}


def foreign_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE claim (id)")


def foreign_wal(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE claim (id)")


def newer_ledger(path: Path) -> None:
    schema.create(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 2")


REFUSED = [
    (lambda path: path.touch(), LedgerCorruptError),
    (lambda path: path.write_bytes(b"x"), LedgerCorruptError),
    (lambda path: path.write_bytes(os.urandom(10_000)), LedgerCorruptError),
    (lambda path: path.write_text("badge_id,owner_type\n" * 100), LedgerCorruptError),
    (lambda path: path.write_bytes(b"SQLite format 3\0"), LedgerCorruptError),
    (lambda path: path.write_bytes(b"SQLite format 3\0" + bytes(4080)), LedgerMismatchError),
    (foreign_database, LedgerMismatchError),
    (foreign_wal, LedgerMismatchError),
    (newer_ledger, LedgerVersionError),
    (lambda path: path.mkdir(), LedgerError),
    (os.mkfifo, LedgerError),
]
NAMES = [
    *("zero bytes", "one byte", "garbage", "a text", "half a header", "a header and zeros"),
    *("another program's", "another program's WAL", "a newer one", "a folder", "a pipe"),
]


@pytest.mark.parametrize(("make", "error"), REFUSED, ids=NAMES)
async def test_what_is_no_ledger_stays_as_it_is(
    tmp_path: Path, make: Any, error: type[LedgerError]
) -> None:
    """F106, F107: garbage, another program's and a newer release's file are refused untouched."""
    path = tmp_path / "run.db"
    make(path)
    before = contents(tmp_path) if path.is_file() else None
    with pytest.raises(LedgerError) as caught:
        async with Ledger.open(path):
            pass
    assert type(caught.value) is error
    assert str(path) in str(caught.value)
    if error is not LedgerVersionError:  # a newer ledger can be read, see test_reader
        with pytest.raises(error):
            LedgerReader.open(path)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    if before is not None:
        assert contents(tmp_path) == before


async def test_a_newer_version_is_seen_in_the_wal_too(tmp_path: Path) -> None:
    """A newer release was killed just after it had brought the tables up to date."""
    path = tmp_path / "run.db"
    async with running(path):
        pass
    code = "c=sqlite3.connect(path);c.execute('PRAGMA user_version=2');c.commit();os._exit(9)"
    subprocess.run(  # noqa: S603
        [sys.executable, "-c", f"import os,sqlite3; path={str(path)!r}; {code}"], check=False
    )
    before = contents(tmp_path)
    with pytest.raises(LedgerVersionError):
        async with Ledger.open(path):
            pass
    after = contents(tmp_path)
    assert {name: after[name] for name in (path.name, path.name + "-wal")} == {
        name: before[name] for name in (path.name, path.name + "-wal")
    }
    with LedgerReader.open(path) as reader:
        assert reader.standing().total == 0


async def test_a_damaged_one_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    killed(path)
    with path.open("r+b") as file:  # page 2, the root of the claims
        file.seek(4096)
        file.write(b"\xff" * 4096)
    # What is damaged must be read from the file itself.
    [wal] = beside(path, "-wal")
    wal.write_bytes(wal.read_bytes()[:32])
    before = contents(tmp_path)
    with pytest.raises(LedgerCorruptError, match="damaged"):
        async with Ledger.open(path):
            pass
    after = contents(tmp_path)
    assert [before[n] for n in ("run.db", "run.db-wal")] == [
        after[n] for n in ("run.db", "run.db-wal")
    ]


async def test_damage_is_seen_without_a_wal_too(tmp_path: Path) -> None:
    """Of a run that was cut off; what was closed is not looked at page by page."""
    path = tmp_path / "run.db"
    killed(path)
    touch(path)
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 4096)
    with pytest.raises(LedgerCorruptError, match="damaged"):
        async with Ledger.open(path):
            pass


async def test_one_that_lacks_tables_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    schema.create(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE send")
    with pytest.raises(LedgerCorruptError, match="tables"):
        async with Ledger.open(path):
            pass


@pytest.mark.parametrize("path", ["", b"run.db", None, 7, "nul\0.db"])
def test_what_is_no_path_is_refused(path: object) -> None:
    with pytest.raises(InvalidInputError):
        Ledger.open(path)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError):
        LedgerReader.open(path)  # type: ignore[arg-type]


async def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "none" / "run.db"
    with pytest.raises(LedgerError, match="No such file"):
        async with Ledger.open(path):
            pass
    with pytest.raises(LedgerError, match="No such file"):
        LedgerReader.open(path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["x" * 254, "x" * 300, "run.db/run.db", "loop"])
async def test_a_name_that_cannot_be(tmp_path: Path, name: str) -> None:
    (tmp_path / "run.db").touch()
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(LedgerError):
        async with Ledger.open(tmp_path / name):
            pass
    assert len(list(tmp_path.iterdir())) == 2


async def test_a_folder_that_may_not_be_written_to() -> None:
    """F112: as a user without privileges, because root may write anywhere."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "run.db")
        async with running(path) as ledger:
            await claim_all(ledger, claims(1))
        killed(path.with_name("killed.db"))
        remove(beside(path.with_name("killed.db"), "-shm", "-lock"))
        said = []
        try:
            for mode in (0o444, 0o666):  # of the files
                for file in Path(folder).iterdir():
                    file.chmod(mode)
                Path(folder).chmod(0o555)
                with child(path, READ_ONLY) as process:
                    assert process.stdout is not None
                    said.append(process.stdout.read().splitlines())
                Path(folder).chmod(0o755)
        finally:
            Path(folder).chmod(0o755)
        # Nor is it taken for a disk without room, which would be waited for.
        assert said == [["LedgerError", "LedgerError", "1", "LedgerError"]] * 2
        assert {file.name for file in Path(folder).iterdir()} == {
            *("run.db", "run.db-lock", "killed.db", "killed.db-wal"),
        }


READ_ONLY = """
import encodings.ascii, encodings.idna  # which Python looks for late, when they may be out of reach
if os.getuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
async def main():
    for name in ("other.db", "run.db"):
        try:
            async with Ledger.open(path.with_name(name)):
                pass
        except Exception as error:
            say(type(error).__name__)
    with LedgerReader.open(path) as reader:
        say(reader.standing().settled)
    try:
        LedgerReader.open(path.with_name("killed.db"))
    except Exception as error:
        say(type(error).__name__)
asyncio.run(main())
"""


async def test_one_file_by_two_names_is_one_ledger(tmp_path: Path) -> None:
    path, name = tmp_path / "run.db", tmp_path / "elsewhere" / "link.db"
    name.parent.mkdir()
    name.symlink_to(path)
    async with running(name) as ledger:  # which makes the file that the link leads to
        await claim_all(ledger, claims(1))
        assert ledger.path == path
        assert set(entries(name)) == {"1"}
        with pytest.raises(LedgerLockedError):
            async with Ledger.open(path):
                pass
    assert [file.name for file in name.parent.iterdir()] == ["link.db"]


async def test_a_file_that_comes_to_be_meanwhile_is_not_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.db"
    execute = sqlite3.connect

    def connect(name: str, **options: Any) -> sqlite3.Connection:
        path.write_text("somebody's")
        opened: sqlite3.Connection = execute(name, **options)
        return opened

    monkeypatch.setattr(sqlite3, "connect", connect)
    with pytest.raises(LedgerError, match="exists"):
        schema.create(path)
    assert contents(tmp_path) == {"run.db": b"somebody's"}


async def test_where_a_file_can_have_one_name_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(_: str, path: Path) -> None:
        raise PermissionError(1, "Operation not permitted", str(path))

    monkeypatch.setattr(os, "link", link)
    async with running(tmp_path / "run.db") as ledger:
        await claim_all(ledger, claims(1))
    assert {file.name for file in tmp_path.iterdir()} == {"run.db", "run.db-lock"}


STOPS = """
from badges_async.ledger import schema
async def main():
    where = {point!r}
    def stop(*args):
        if where in args[0]:
            os.kill(os.getpid(), 9)
    sys.addaudithook(lambda name, args: stop((name,)))
    async with Ledger.open(path):
        say("open")
asyncio.run(main())
"""


@pytest.mark.parametrize("point", ["tempfile.mkstemp", "sqlite3.connect", "os.link"])
async def test_a_half_made_ledger_never_stands_at_its_place(tmp_path: Path, point: str) -> None:
    path = tmp_path / "run.db"
    with child(path, STOPS.format(point=point)) as process:
        assert line_or_end(process) == ""
        assert process.wait() == -9
    assert not path.exists()
    async with running(path) as ledger:
        await claim_all(ledger, claims(1))
    assert set(entries(path)) == {"1"}


def line_or_end(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


async def test_an_sqlite_that_is_too_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 26, 0))
    with pytest.raises(LedgerError, match=r"needs SQLite 3\.33"):
        async with Ledger.open(tmp_path / "run.db"):
            pass


async def test_looking_at_an_open_ledger_does_not_drop_its_locks(tmp_path: Path) -> None:
    """Or another program that closes it would remove the -wal under the run."""
    path = tmp_path / "run.db"
    async with running(path) as ledger:
        await claim_all(ledger, claims(1))
        with LedgerReader.open(path) as reader:
            reader.standing()
        with pytest.raises(LedgerLockedError):
            async with Ledger.open(path):
                pass
        with child(path, "touch(path)") as process:
            assert process.wait() == 0
        await claim_all(ledger, claims(2))
    assert set(entries(path)) == {"1", "2"}
    assert connection._open == []


async def test_what_is_closed_is_not_known_any_more(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    async with running(path):
        assert len(connection._open) == 1
    touch(path)
    path.write_bytes(b"")
    with pytest.raises(LedgerCorruptError):
        LedgerReader.open(path)
    assert connection._open == []
