"""
What a claim costs `wrk`, a load generator in C: no parsing of JSON, no Python, one thread.

Its processor time is that of the process, which the kernel knows; the number of requests is the one
that it reports.
"""

from __future__ import annotations

import re
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.orders import HEADERS, OWNER, OWNER_TYPE, PATH
from benchmarks.processes import serve_rounds

SECONDS = 1  # wrk takes no less

_CREDENTIALS = HEADERS["Authorization"]
_SCRIPT = f"""\
local number = 0
wrk.method = "POST"
wrk.body = '{{"ownerType": "{OWNER_TYPE}", "referenceId": "{OWNER}"}}'
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "{_CREDENTIALS}"
function request()
  number = number + 1
  return wrk.format(nil, string.format("{PATH}/%024x/claim", number))
end
"""
_DONE = re.compile(r"([0-9]+) requests in ")
_TROUBLE = re.compile(r"Non-2xx|Socket errors")


def _cost(url: str, connections: int) -> float:
    """Give the seconds of CPU that a claim takes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "claim.lua")
        script.write_text(_SCRIPT, encoding="ascii")
        done = subprocess.run(  # noqa: S603 - wrk
            ["wrk", "-t1", f"-c{connections}", f"-d{SECONDS}s", "-s", script, url],  # noqa: S607
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    requests = _DONE.search(done.stdout)
    if requests is None or _TROUBLE.search(done.stdout):
        raise RuntimeError(f"wrk had trouble: {done.stdout}")
    seconds = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return seconds / int(requests[1])


def main(url: str, connections: str) -> None:
    """Be a contender."""
    serve_rounds(lambda: None, lambda: _cost(url, int(connections)))


if __name__ == "__main__":
    main(*sys.argv[1:])
