"""
One campaign, in the process that atheris never returns from: `python -m tests.fuzz` starts it.

Here: what is instrumented (our package alone), and what is done with a find: its bytes are kept and
the campaign goes on, so that one bug does not hide the next. Of finds at the same place with the
same cause the first is kept.
"""

from __future__ import annotations

import hashlib
import sys
import traceback
from importlib import import_module
from pathlib import Path

from tests.fuzz.targets import Target

__all__ = ["main"]


def main(name: str, folder: Path, options: list[str]) -> None:
    """Fuzz the target *name* until libFuzzer's *options* end it; finds go to *folder*."""
    atheris = import_module("atheris")
    with atheris.instrument_imports(include=["badges_async"]):
        target = Target.of(name)
    corpus, words = folder / "corpus", folder / "words"
    corpus.mkdir(exist_ok=True)
    for seed in target.seeds():
        (corpus / hashlib.sha1(seed, usedforsecurity=False).hexdigest()).write_bytes(seed)
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in target.words), "ascii")
    seen: set[str] = set()

    def run(data: bytes) -> None:
        try:
            target.run(data)
        except Exception as error:  # noqa: BLE001 - any of them is a find
            _keep(folder, data, error, seen)

    arguments = ["fuzz", f"-dict={words}", f"-artifact_prefix={folder}/find-", *options]
    atheris.Setup([*arguments, str(corpus)], run)
    atheris.Fuzz()


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


def _keep(folder: Path, data: bytes, error: Exception, seen: set[str]) -> None:
    places = [
        f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)
    ]
    cause = hashlib.sha1(
        f"{type(error)} {places[-3:]}".encode(), usedforsecurity=False
    ).hexdigest()[:12]
    if cause in seen:
        return
    seen.add(cause)
    (folder / f"find-{cause}").write_bytes(data)
    sys.stderr.write(
        f"find-{cause}: {data[:300]!r}\n{''.join(traceback.format_exception(error))}\n"
    )


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
