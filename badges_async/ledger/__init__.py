"""
The ledger: a SQLite file that knows what was meant to be claimed and what became of it.

```text
ledger    Ledger, as the engine and our users hold it      reader   what it says, read only, any time
writer    one thread, one transaction for all who wait      store    what is written, as SQL
schema    the file: tables, opening, what is refused        records  outcomes as rows and back
lock      one process at a time                             clock    times that survive a restart
faults    SQLite's errors as ours
```
"""

from badges_async.ledger.ledger import Ledger
from badges_async.ledger.reader import LedgerReader
from badges_async.ledger.records import LedgerEntry, LedgerStanding

__all__ = ["Ledger", "LedgerEntry", "LedgerReader", "LedgerStanding"]
