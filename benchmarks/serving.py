"""The service that the clients are measured against: nginx if it is installed, else `service`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import attrs

from benchmarks.nginx import nginx_version, path_of_nginx, running_nginx
from benchmarks.service import running_service
from benchmarks.table import note

__all__ = ["Served", "serving"]


@attrs.frozen
class Served:
    """A service that runs: its base URL, and what it is."""

    url: str
    name: str


@contextmanager
def serving(core: int | None, *, keep_alive: bool = True) -> Iterator[Served]:
    """
    Run a service that says yes to every claim, and say which one it is.

    Args:
        core: Where it runs; None for wherever there is room.
        keep_alive: Whether connections are kept; if not, each is closed after one answer.
    """
    where = "without a core of its own" if core is None else "on the other core"
    if path_of_nginx() is None:
        name = f"benchmarks.service {where}"
        note(f"nginx is not installed; the service is {name}: slower, and in Python")
        with running_service(core, keep_alive=keep_alive) as url:
            yield Served(url, name)
    else:
        name = f"{nginx_version()} {where}"
        note(f"the service is {name}")
        with running_nginx(core, keep_alive=keep_alive) as url:
            yield Served(url, name)
