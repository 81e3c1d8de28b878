"""A target: a function that gives bytes to a decoder, and raises if a promise of the decoder is broken.

A module in `tests/fuzz/targets/` is a target. It defines

- `fuzz`, a function of `bytes` that returns None, or raises an error if a promise is broken,
- `NEAR`, a strategy of hypothesis that draws valid or nearly valid bytes,
- optionally `EXAMPLES`, inputs that have found a defect or would find a likely one,
- optionally `BYTES_MAX`, the length of the longest input of atheris, and `WORDS`, texts that atheris inserts.

Both fuzzers use the same function: hypothesis in `make test`, and atheris with `python -m tests.fuzz TARGET`.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from attrs import frozen
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import SearchStrategy
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from zope.interface import provider

FOLDER = Path(__file__).parent
CORPUS = FOLDER / "corpus"

#: The length of the longest input of atheris, unless a target sets its own.
BYTES_MAX = 4096


@frozen
class Target:
    """A target with its name. `about` is the first sentence of its module's docstring."""

    name: str
    about: str
    fuzz: Callable[[bytes], None]
    near: SearchStrategy[bytes]
    examples: tuple[bytes, ...]
    bytes_max: int
    words: tuple[bytes, ...]

    def run(self, sent: bytes) -> None:
        """Pass an input to the decoder. Raises an error if a promise is broken, or if a failure is logged."""
        with _failures_logged() as failures:
            self.fuzz(sent)
        if failures:
            raise AssertionError(f"logged: {failures}")

    def corpus(self) -> list[bytes]:
        """Return the stored inputs, which together reach most lines of the decoder."""
        return [path.read_bytes() for path in sorted((CORPUS / self.name).glob("*"))]


def names() -> list[str]:
    """Return the names of all targets."""
    return [module.name for module in iter_modules([str(FOLDER / "targets")])]


def load(name: str) -> Target:
    """Import a target."""
    module: Any = import_module(f"tests.fuzz.targets.{name}")
    about = (module.__doc__ or "").partition("\n")[0]
    examples, words = getattr(module, "EXAMPLES", ()), getattr(module, "WORDS", ())
    return Target(name, about, module.fuzz, module.NEAR, examples, getattr(module, "BYTES_MAX", BYTES_MAX), words)


@contextmanager
def _failures_logged() -> Iterator[list[str]]:
    """Collect the failures that are logged in the block."""
    found: list[str] = []

    @provider(ILogObserver)
    def observe(event: LogEvent) -> None:
        failure = event.get("log_failure") or event.get("failure")
        if failure is not None:
            found.append(f"{formatEvent(event)} {failure.getTraceback()}")

    globalLogPublisher.addObserver(observe)
    try:
        yield found
    finally:
        globalLogPublisher.removeObserver(observe)


def draw(inputs: SearchStrategy[bytes], count: int, take: Callable[[bytes], None]) -> None:
    """Call `take` with inputs that a strategy draws. Each call of `draw` uses the same inputs."""

    @settings(max_examples=count, derandomize=True, database=None, suppress_health_check=[*HealthCheck])
    @given(inputs)
    def take_each(sent: bytes) -> None:
        take(sent)

    take_each()


def in_pieces(sent: bytes, cuts_max: int = 3) -> Iterator[bytes]:
    """Yield an input in pieces. The positions of the cuts depend only on the input."""
    seed = hash_of(sent)
    places = sorted({(seed >> (16 * n)) % (len(sent) + 1) for n in range(1 + seed % cuts_max)})
    begins = 0
    for end in (*places, len(sent)):
        if end > begins:
            yield sent[begins:end]
            begins = end


def hash_of(sent: bytes) -> int:
    """Return a hash of 64 bits, which is the same in every process."""
    return zlib.crc32(sent) << 32 | zlib.crc32(sent, 0x5EED)
