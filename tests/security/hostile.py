"""A service that throws what it is sent back at its sender, wherever it can say something."""

from __future__ import annotations

import base64
import hashlib
import json

from tests.client.byte_server import ByteServer, Exchange, http
from tests.security.accounts import CLIENT_SECRET, PASSWORD

__all__ = ["BASIC", "DIGEST", "SECRETS", "TOKEN", "hostile_service", "sent_by"]

TOKEN = "t0ken-of-the-service"
DIGEST = hashlib.md5(PASSWORD.encode(), usedforsecurity=False).hexdigest()
BASIC = base64.b64encode(f"till.demo:{DIGEST}".encode()).decode()
SECRETS = (PASSWORD, DIGEST, BASIC, CLIENT_SECRET, TOKEN)


def sent_by(exchange: Exchange) -> str:
    """Give what a request carried: a token, the credentials, or the client secret."""
    fields = exchange.field("Authorization"), exchange.field("X-CAP-API-OAUTH-TOKEN")
    return next((field for field in fields if field), exchange.body.decode())


def hostile_service() -> ByteServer:
    """Give a service that answers each claim in another way, and quotes in all of them."""
    return ByteServer(_answer)


async def _answer(exchange: Exchange) -> None:
    if exchange.line.startswith("POST /v3/oauth/"):
        await exchange.say(http(json.dumps({"data": {"accessToken": TOKEN}}).encode()))
        return
    what = sent_by(exchange)
    number = int(json.loads(exchange.body)["referenceId"]) if exchange.body else 1  # a probe
    field = f"X-CAP-REQUEST-ID: {what}"
    notice = {"code": 900 if number % 4 == 0 else 717, "message": what, "reference": what}
    if number % 4 == 0:
        await exchange.say(http(json.dumps({"warnings": [notice], "data": None}).encode(), field))
    elif number % 4 == 1:
        body = json.dumps({"errors": [notice]}).encode()
        await exchange.say(http(body, field, status="400 Bad Request"))
    elif number % 4 == 2:
        await exchange.say(http(f"<html>{what}".encode(), field))
    else:
        await exchange.say(f"HTTP/1.1 {what}\r\n\r\n".encode())
        exchange.close()
