"""
What README.md promises under Security, and which tests show it.

**Credentials**

- in errors, and what hangs on them or stands in their frames: `test_every_error` (each public
  class, raised for real), `test_failures` (each fault of the sandbox), `test_credentials` (refused
  ones, and those that a service quotes in any place); `seen` is what looks;
- in values, formats and pickles: `test_values`, and `tests/test_auth.py`;
- in logs: `test_failures` (each fault), `test_told_lines` (asyncio's debug mode);
- on disk, in Redis, in reports and metrics: `test_left_behind`;
- sent nowhere else: `test_downgrades` (redirects), `tests/client/test_session_exchange.py`
  (proxies, cookies, netrc), `tests/test_endpoint.py` (hosts).

**TLS**: `tests/client/test_tls.py`, `tests/catalogue/test_connecting.py` (wrong host, self-signed,
expired), `tests/interop/test_tls.py` (an unknown CA), `test_downgrades` (old protocols, no
certificate, plain text where TLS is expected).

**Input is text**: `test_injection`; `tests/interop/test_identifiers.py` through real servers;
`tests/test_endpoint.py` for hosts; `tests/cli/test_escapes.py` for formulas in spreadsheets.

**Answers are hostile**: `test_bounds` (what has no end), `tests/catalogue/test_odd_answers.py` (too
long, bombs), `tests/catalogue/test_foreign_answers.py` (depth, digits, no HTTP, no JSON),
`tests/test_jsontext.py` (names that come twice), `tests/worker/test_events.py` (huge messages),
`test_told_lines` (control characters), and `tests/fuzz`.

**Files**: `tests/ledger/test_file.py`, `test_lock.py` and `test_place.py` beside it.

Not shown, because not promised: what a program finds that walks through attributes (``vars()``) or
memory; frames of the user's own, and of an `Auth` of the user's own that gives plain strings; a
password that was written into a host, which stands in the frames that refuse it; a pickle of an
`Auth`, which has to carry what it is.
"""
