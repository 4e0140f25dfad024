"""
The asyncio client for the Capillary Badges API.

```python
async with BadgesClient("eu.api.capillarytech.com", BasicAuth("till", "password")) as client:
    result = await client.claim("662749408fe258516a88fe89", OwnerType.LOYALTY, "123")
```

This list is the public API. The converter (`badges_async.converter`), the embedded service
(`badges_async.sandbox`) and the pytest fixtures (`badges_async.pytest_plugin`) are public too;
everything else may change without notice.
"""

from badges_async.auth import Auth, BasicAuth, OAuth
from badges_async.bulk import BulkRun
from badges_async.calls import AttemptEvent, Observer
from badges_async.claims import ClaimOutcome, ClaimRequest, ClaimResult
from badges_async.client import BadgesClient
from badges_async.enums import (
    BadgeStatus,
    BenefitType,
    ClaimStatus,
    ConstraintType,
    CycleStatus,
    DurationType,
    EarnType,
    ExpiryBasis,
    ExpiryType,
    ImageTag,
    OwnerType,
    SortOrder,
    Weekday,
)
from badges_async.errors import (
    APIError,
    AuthenticationError,
    BadgeNotFoundError,
    BadgesError,
    ClientClosedError,
    ConflictError,
    ConnectError,
    ConnectionLostError,
    DeadlineError,
    InvalidInputError,
    InvalidRequestError,
    LedgerCorruptError,
    LedgerError,
    LedgerFullError,
    LedgerLockedError,
    LedgerLostError,
    LedgerMismatchError,
    LedgerVersionError,
    OutageError,
    PermissionDeniedError,
    RateLimitedError,
    ServerError,
    StructureError,
    TransportError,
    UnreadableReplyError,
)
from badges_async.ledger import Ledger, LedgerEntry, LedgerReader, LedgerStanding
from badges_async.models import (
    Badge,
    Benefit,
    Claim,
    Constraint,
    Cycle,
    Expiry,
    Image,
    Notice,
    Ownership,
    Tag,
)
from badges_async.ports import Ports, Transport
from badges_async.quota import Limiter, Quota, Slot
from badges_async.report import BulkReport
from badges_async.retry import RetryPolicy
from badges_async.session import SessionManager
from badges_async.timeouts import Timeout

__all__ = [
    "APIError",
    "AttemptEvent",
    "Auth",
    "AuthenticationError",
    "Badge",
    "BadgeNotFoundError",
    "BadgeStatus",
    "BadgesClient",
    "BadgesError",
    "BasicAuth",
    "Benefit",
    "BenefitType",
    "BulkReport",
    "BulkRun",
    "Claim",
    "ClaimOutcome",
    "ClaimRequest",
    "ClaimResult",
    "ClaimStatus",
    "ClientClosedError",
    "ConflictError",
    "ConnectError",
    "ConnectionLostError",
    "Constraint",
    "ConstraintType",
    "Cycle",
    "CycleStatus",
    "DeadlineError",
    "DurationType",
    "EarnType",
    "Expiry",
    "ExpiryBasis",
    "ExpiryType",
    "Image",
    "ImageTag",
    "InvalidInputError",
    "InvalidRequestError",
    "Ledger",
    "LedgerCorruptError",
    "LedgerEntry",
    "LedgerError",
    "LedgerFullError",
    "LedgerLockedError",
    "LedgerLostError",
    "LedgerMismatchError",
    "LedgerReader",
    "LedgerStanding",
    "LedgerVersionError",
    "Limiter",
    "Notice",
    "OAuth",
    "Observer",
    "OutageError",
    "OwnerType",
    "Ownership",
    "PermissionDeniedError",
    "Ports",
    "Quota",
    "RateLimitedError",
    "RetryPolicy",
    "ServerError",
    "SessionManager",
    "Slot",
    "SortOrder",
    "StructureError",
    "Tag",
    "Timeout",
    "Transport",
    "TransportError",
    "UnreadableReplyError",
    "Weekday",
]
