"""
Which rows of an input are in the stream already: a place in the input, and what is known behind it.

Here: the names of places, and the comparison of rows with those of earlier runs. Not here: Redis
(`redis_enqueue`), or how a row is written (`events`).

What a run added at one go is kept as a stretch, one check for each row, under a name: a digest of
the label, of all rows before the stretch and of its first row. So it does not matter how a run cuts
its rows into batches, and all inputs under one label make one radix tree.
"""

from __future__ import annotations

from hashlib import blake2b

__all__ = ["CHECK", "Place", "check_of"]

# Bytes that stand for a row: two rows are taken for one another once in 2**64.
CHECK = 8
_NAME = 16


def check_of(row: bytes) -> bytes:
    """Give what stands for *row*."""
    return blake2b(row, digest_size=CHECK).digest()


class Place:
    """
    Where a run is in its input.

    Args:
        label: The same rows under another label have other places.

    Attributes:
        ours: Whether the known stretch was added by this very run.
    """

    def __init__(self, label: str) -> None:
        start = blake2b(label.encode("utf-8", "surrogatepass")).digest()
        self._before = blake2b(start, digest_size=_NAME)
        self._known = b""
        self.ours = False

    def name(self, checks: bytes) -> str:
        """Give what a stretch is called that is at this place and begins as *checks* do."""
        name = self._before.copy()
        name.update(checks[:CHECK])
        return name.hexdigest()

    def learn(self, stretch: bytes, *, ours: bool) -> None:
        """Take note of a stretch at this place."""
        self._known, self.ours = stretch, ours

    def pass_known(self, checks: bytes) -> int:
        """
        Go on behind those rows that are known to be in the stream, and give how many these are.

        Of the row behind them nothing is known here: only Redis can know a stretch of it.
        """
        length = _common(checks, self._known)
        rest = self._known[length:]
        self.advance(checks[:length])
        self._known = rest
        return length // CHECK

    def advance(self, checks: bytes) -> None:
        """Go on behind rows."""
        self._before.update(checks)
        self._known = b""


def _common(one: bytes, other: bytes) -> int:
    """Give how many bytes two stretches have in common at their start, in whole checks."""
    most = min(len(one), len(other))
    if one[:most] == other[:most]:
        return most
    steps = range(0, most, CHECK)
    return next(at for at in steps if one[at : at + CHECK] != other[at : at + CHECK])
