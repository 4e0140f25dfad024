"""
The ledger: a SQLite file that knows what was meant to be claimed and what became of it.

```text
ledger      Ledger, as the engine and our users hold it     reader   what it says, at any time
writer      one thread, one transaction for all who wait    store    what is written, as SQL
book        the open file, and what makes a transaction     records  outcomes as rows and back
connection  opening the file, and what is refused then      clock    times that survive a restart
schema      the file unopened: tables, making, refusing     faults   SQLite's errors as ours
lock        one process at a time                       loading  a million claims at once
place       file systems that promise too much
```
"""

from badges_async.ledger.ledger import Ledger
from badges_async.ledger.reader import LedgerReader
from badges_async.ledger.records import LedgerEntry, LedgerStanding

__all__ = ["Ledger", "LedgerEntry", "LedgerReader", "LedgerStanding"]
