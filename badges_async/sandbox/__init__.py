"""The Badges service in your process, for tests, demonstrations and practice."""

from badges_async.sandbox.answers import Answer, RawAnswer
from badges_async.sandbox.faults import Fault, FaultSource, ScriptItem, parse_fault
from badges_async.sandbox.records import RecordedRequest
from badges_async.sandbox.samples import make_badge_ids
from badges_async.sandbox.server import Sandbox
from badges_async.sandbox.state import BadgeRecord, HeldClaim
from badges_async.sandbox.throttle import QuotaSource

__all__ = [
    "Answer",
    "BadgeRecord",
    "Fault",
    "FaultSource",
    "HeldClaim",
    "QuotaSource",
    "RawAnswer",
    "RecordedRequest",
    "Sandbox",
    "ScriptItem",
    "make_badge_ids",
    "parse_fault",
]
