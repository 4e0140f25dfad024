"""The numbers that no test shows, or not as the catalogue words them, each with its reason."""

from __future__ import annotations

LISTED: dict[str, str] = {
    # An input that grows, or is cut short, while it is read.
    "F127": "a ledger knows claims by what they ask for and not by their lines, so there is no "
    "fingerprint that could differ: rows that were not read yet are sent by whoever reads them",
}
