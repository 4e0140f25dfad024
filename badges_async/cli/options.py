"""
Which service, and as whom; and how a file is to be claimed.

A secret is never the value of an option: those are visible to everybody on the machine. It comes
from the environment, from a file, or from the person at the terminal.
"""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import attrs
from cyclopts import Parameter

from badges_async import BadgesClient, BasicAuth, OAuth, Quota
from badges_async.cli.exits import UsageError

__all__ = ["NOWHERE", "BulkOptions", "Lane", "Service", "first_line"]

Lane = Literal["auto", "session", "wire"]

_CONNECTIONS = 100  # the client's own default
_SECRET_LIMIT = 4096


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class Service:
    """The options of every command that talks to the service."""

    host: str | None = None
    """Host name or base URL of the service; else BADGES_HOST."""

    username: str | None = None
    """Till id; else BADGES_USERNAME. Password: BADGES_PASSWORD, --password-file, or asked for."""

    password_file: Path | None = None
    """File whose first line is the password."""

    client_key: str | None = None
    """OAuth key; else BADGES_CLIENT_KEY. Secret: BADGES_CLIENT_SECRET, --secret-file, or asked."""

    secret_file: Path | None = None
    """File whose first line is the client secret."""

    def address(self) -> str:
        """
        Give the host.

        Raises:
            UsageError: None was given.
        """
        host = self.host or os.environ.get("BADGES_HOST")
        if not host:
            raise UsageError("which service? set BADGES_HOST, or give --host")
        return host

    def auth(self) -> BasicAuth | OAuth:
        """
        Give the credentials; may ask for a secret on a terminal.

        Raises:
            UsageError: There are none, or there are two kinds.
            InvalidInputError: They cannot be credentials.
        """
        environ = os.environ
        basic, oauth = self._kinds(environ)
        if basic and oauth:
            raise UsageError("a username and a client key at once; give one of the two")
        if basic:
            name = self.username or environ.get("BADGES_USERNAME")
            if not name:
                raise UsageError("--password-file needs --username or BADGES_USERNAME")
            return BasicAuth(name, _secret("password", name, self.password_file, environ))
        if oauth:
            key = self.client_key or environ.get("BADGES_CLIENT_KEY")
            if not key:
                raise UsageError("--secret-file needs --client-key or BADGES_CLIENT_KEY")
            return OAuth(key, _secret("secret", key, self.secret_file, environ))
        raise UsageError(
            "as whom? set BADGES_USERNAME and BADGES_PASSWORD, or BADGES_CLIENT_KEY and "
            "BADGES_CLIENT_SECRET, or give --username or --client-key"
        )

    def client(self, **options: Any) -> BadgesClient:  # noqa: ANN401 - the client's own options
        """
        Make a client.

        Raises:
            UsageError: Host or credentials are missing.
            InvalidInputError: One of them cannot be used.
        """
        return BadgesClient(self.address(), self.auth(), **options)

    def _kinds(self, environ: Mapping[str, str]) -> tuple[bool, bool]:
        basic = bool(self.username or self.password_file)
        oauth = bool(self.client_key or self.secret_file)
        if basic or oauth:  # what was typed goes before what was set long ago
            return basic, oauth
        return bool(environ.get("BADGES_USERNAME")), bool(environ.get("BADGES_CLIENT_KEY"))


NOWHERE = Service()


@attrs.frozen(kw_only=True)
class BulkOptions:
    """
    How a file is to be claimed.

    Attributes:
        ledger: The file that knows what was done, so that a run can be gone on with, if any.
        grace: Seconds that what is in flight may take when the run is asked to end.
        reports: Where the account of the run goes: a page for people where the name ends in
            ``.html`` or ``.htm``, else the record for machines.
        problems: Where every row that is not claimed goes, if anywhere.
        progress: Whether standard error shows how far it is.
    """

    concurrency: int = 16
    quota: Quota | None = None
    lane: Lane = "auto"
    ledger: Path | None = None
    grace: float = 10.0
    reports: Sequence[Path] = ()
    problems: Path | None = None
    progress: bool = True

    @property
    def connections(self) -> int:
        """Connections that the client needs: no claim in flight waits for one."""
        return max(self.concurrency, _CONNECTIONS)

    def as_values(self) -> dict[str, str | int | float | None]:
        """Give what belongs into the record of a run."""
        quota = None if self.quota is None else str(self.quota)
        return {"concurrency": self.concurrency, "quota": quota, "lane": self.lane}


_VARIABLES = {"password": "BADGES_PASSWORD", "secret": "BADGES_CLIENT_SECRET"}


def _secret(what: str, owner: str, file: Path | None, environ: Mapping[str, str]) -> str:
    if file is not None:
        return first_line(what, file)
    variable = _VARIABLES[what]
    if secret := environ.get(variable):
        return secret
    if not (sys.stdin and sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(f"the {what} of {owner} is missing; set {variable} or give --{what}-file")
    try:
        return getpass.getpass(f"The {what} of {owner}: ")
    except EOFError:
        raise UsageError(f"no {what} was typed") from None


def first_line(what: str, file: Path) -> str:
    """
    Give the secret that *file* holds, for the option ``--WHAT-file``.

    Raises:
        UsageError: It cannot be read, or its first line is empty.
    """
    try:
        with file.open(encoding="utf-8-sig") as stream:
            secret = stream.readline(_SECRET_LIMIT).rstrip("\r\n")
    except UnicodeDecodeError:
        raise UsageError(f"--{what}-file {file} is not UTF-8") from None
    except OSError as error:
        raise UsageError(f"cannot read --{what}-file {file}: {error.strerror}") from None
    if not secret:
        raise UsageError(f"--{what}-file {file}: its first line is empty")
    return secret
