"""
nginx that says yes to every claim, in a process of its own: less at work than any client.

It answers as the API's recorded replies look, headers and chunked coding included. The badge is the
one that was asked for; the owner is `OWNER`, the same for all, since nginx alone cannot look into
the body of a request. Claims of this owner get a truthful answer, claims of others do not.

`running_nginx` starts this module, and that starts nginx: whoever started it may be killed, and
nginx does not stay behind.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path

from benchmarks.cores import pinned
from benchmarks.orders import OWNER, OWNER_TYPE, PATH
from benchmarks.processes import our_process

__all__ = ["nginx_version", "path_of_nginx", "running_nginx"]

_BACKLOG = 511
_PATIENCE = 10.0  # seconds, for the first answer
# Debian and others keep it where only root looks.
_WHERE = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))
_CONFIG = """\
daemon off;
worker_processes 1;
pid {folder}/pid;
error_log {folder}/errors error;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  default_type application/json;
  keepalive_requests 1000000000;
  keepalive_timeout {keep};
  server {{
    listen 127.0.0.1:{port};
    location ~ "^{path}/(?<badge>[0-9a-f]{{24}})/claim$" {{
      add_header X-CAP-REQUEST-ID $request_id;
      add_header X-Frame-Options SAMEORIGIN;
      add_header X-Frame-Options SAMEORIGIN;
      # A filter that might change the length, and never does: the answer goes in chunks.
      sub_filter_types application/json;
      sub_filter never never;
      return 200 '{answer}';
    }}
  }}
}}
"""
_ANSWER = (
    f'{{"data":{{"ownerType":"{OWNER_TYPE}","referenceId":"{OWNER}","isActive":true,'
    '"badgeMetaId":"$badge"},"errors":[],"warnings":[]}'
)


def path_of_nginx() -> str | None:
    """Give where nginx is, if it is installed."""
    return shutil.which("nginx", path=_WHERE)


def nginx_version() -> str:
    """Give what nginx says it is, as ``nginx/1.22.1``."""
    done = subprocess.run(  # noqa: S603 - nginx
        [path_of_nginx() or "nginx", "-v"], check=True, stderr=subprocess.PIPE, text=True
    )
    return done.stderr.split()[2]


@contextmanager
def running_nginx(core: int | None, *, keep_alive: bool = True) -> Iterator[str]:
    """
    Run nginx, on *core* if one is given, and give its base URL.

    Args:
        keep_alive: Whether connections are kept; if not, each is closed after one answer.
    """
    where = "" if core is None else core
    with our_process("benchmarks.nginx", where, "75s" if keep_alive else "0") as process:
        assert process.stdout is not None  # noqa: S101 - `our_process` asks for it
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"


@contextmanager
def _nginx(folder: str, keep: str) -> Iterator[int]:
    """Run nginx on a port that is free, and give the port."""
    # nginx takes over a socket that listens already: no port is guessed, no client comes too early.
    with socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG) as listening:
        listening.settimeout(0)  # nginx wants it so
        port = listening.getsockname()[1]
        facts = {"folder": folder, "keep": keep, "port": port}
        config = _CONFIG.format(path=PATH, answer=_ANSWER, **facts)
        path, errors = Path(folder, "nginx.conf"), Path(folder, "errors")
        path.write_text(config, encoding="utf-8")
        process = subprocess.Popen(  # noqa: S603 - nginx
            [path_of_nginx() or "nginx", "-p", folder, "-c", path, "-e", errors],
            env={**os.environ, "NGINX": f"{listening.fileno()};"},
            pass_fds=[listening.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
    try:
        if not _answers(port):
            raise RuntimeError(f"nginx does not answer: {errors.read_text(encoding='utf-8')}")
        yield port
    finally:
        process.terminate()
        process.wait()


def _answers(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=_PATIENCE)
    with closing(connection), suppress(OSError):
        connection.request("POST", f"{PATH}/{'0' * 24}/claim", "{}")
        return connection.getresponse().status == HTTPStatus.OK
    return False


def main() -> None:
    """Serve until standard input ends; the arguments are the core and `keepalive_timeout`."""
    core, keep = [*sys.argv[1:], "", "75s"][:2]
    with (
        pinned(int(core) if core else None),
        tempfile.TemporaryDirectory() as folder,
        _nginx(folder, keep) as port,
    ):
        print(port, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
