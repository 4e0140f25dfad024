"""An aiohttp that works otherwise than the wire lane needs is found out when it is imported."""

from __future__ import annotations

import importlib.util
from types import ModuleType, SimpleNamespace
from typing import Any

import aiohttp
import aiohttp.connector
import aiohttp.http
import pytest

from badges_async import channel, wire

_Parser = aiohttp.http.HttpResponseParser
FACTS = ("code", "headers", "should_close", "chunked")


def load_again(module: ModuleType) -> None:
    """Run the source of *module* once more, and keep nothing of it."""
    assert module.__file__
    spec = importlib.util.spec_from_file_location("once_more", module.__file__)
    assert spec
    assert spec.loader
    spec.loader.exec_module(importlib.util.module_from_spec(spec))


class Changed:
    """
    aiohttp's parser, which says something else of each answer.

    Args:
        facts: What it says.
        knows_halves: It tells an answer that is cut from the end of one.
    """

    def __init__(
        self, *args: Any, facts: dict[str, Any], knows_halves: bool, **bounds: Any
    ) -> None:
        self._parser = _Parser(*args, **bounds)
        self._facts, self._knows_halves = facts, knows_halves

    def feed_data(self, data: bytes) -> Any:
        found, upgraded, rest = self._parser.feed_data(data)
        return [(self._change(message), payload) for message, payload in found], upgraded, rest

    def feed_eof(self) -> Any:
        left = self._parser.feed_eof()
        return left if self._knows_halves else None

    def _change(self, message: Any) -> Any:
        return SimpleNamespace(**{name: getattr(message, name) for name in FACTS} | self._facts)


def change_parser(
    monkeypatch: pytest.MonkeyPatch, *, knows_halves: bool = True, **facts: Any
) -> None:
    def make(*args: Any, **bounds: Any) -> Changed:
        return Changed(*args, facts=facts, knows_halves=knows_halves, **bounds)

    monkeypatch.setattr(aiohttp.http, "HttpResponseParser", make)


def test_the_aiohttp_that_is_here_does(monkeypatch: pytest.MonkeyPatch) -> None:
    load_again(wire)
    change_parser(monkeypatch)
    load_again(channel)


@pytest.mark.parametrize(
    "facts",
    [{"code": 204}, {"should_close": True}, {"chunked": None}, {"chunked": True}, {"headers": {}}],
)
def test_a_parser_that_says_otherwise_is_refused(
    facts: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    change_parser(monkeypatch, **facts)
    with pytest.raises(ImportError, match=rf"parser of aiohttp {aiohttp.__version__} works other"):
        load_again(channel)


def test_a_parser_that_knows_no_half_answer_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    change_parser(monkeypatch, knows_halves=False)
    with pytest.raises(ImportError, match="works otherwise"):
        load_again(channel)


def test_a_parser_that_takes_other_arguments_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aiohttp.http, "HttpResponseParser", lambda protocol, loop: (protocol, loop))
    with pytest.raises(ImportError, match="has changed") as caught:
        load_again(channel)
    assert isinstance(caught.value.__cause__, TypeError)


@pytest.mark.parametrize("name", ["close", "protocol", "transport"])
def test_a_connection_without_what_is_used_of_it_is_refused(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = {key: None for key in ("close", "protocol", "transport") if key != name}
    monkeypatch.setattr(aiohttp.connector, "Connection", type("Connection", (), kept))
    with pytest.raises(ImportError, match="works otherwise"):
        load_again(channel)


def test_a_connector_that_takes_other_arguments_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aiohttp.BaseConnector, "connect", lambda self, request: (self, request))
    with pytest.raises(ImportError, match=r"connector of aiohttp .* works otherwise"):
        load_again(wire)


@pytest.mark.parametrize("headers", [{"Host": "x"}, {"Host": "y", "A": "b"}, {"A": "b"}])
def test_a_request_that_holds_other_fields_is_refused(
    headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(*_: Any, **__: Any) -> SimpleNamespace:
        return SimpleNamespace(headers=headers)

    monkeypatch.setattr(aiohttp, "ClientRequest", make)
    with pytest.raises(ImportError, match=r"has changed|works otherwise"):
        load_again(wire)
