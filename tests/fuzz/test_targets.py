"""Every target with its stored inputs, and with a short and constant series of drawn inputs."""

from __future__ import annotations

from functools import partial

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.effort import effort
from tests.fuzz.target import CORPUS, Target, draw, in_pieces, load, names

#: Bytes of all stored inputs.
CORPUS_BYTES_MAX = 200_000


class Decoders(SynchronousTestCase):
    """No input breaks a promise of a decoder."""

    def run_with(self, target: Target, sent: bytes) -> None:
        try:
            target.run(sent)
        except Exception as error:
            error.add_note(f"Target {target.name} with the input {sent!r}")
            raise

    def test_stored_inputs(self) -> None:
        """The stored inputs reach most lines of each decoder."""
        for name in names():
            target = load(name)
            kept = target.corpus()
            self.assertGreater(len(kept), 0, name)
            for sent in (*target.examples, *kept):
                self.run_with(target, sent)

    def test_drawn_inputs(self) -> None:
        """Drawn inputs are valid, nearly valid, or random bytes."""
        for name in names():
            target = load(name)
            draw(target.near | st.binary(max_size=100), effort(30, 500), partial(self.run_with, target))


class Corpora(SynchronousTestCase):
    """The stored inputs are a part of the repository."""

    def test_each_corpus_belongs_to_a_target(self) -> None:
        """The corpus of a renamed target must be renamed, too."""
        self.assertEqual({path.name for path in CORPUS.iterdir()}, {*names()})

    def test_they_are_small(self) -> None:
        """All corpora together stay below a limit."""
        sizes = [path.stat().st_size for path in CORPUS.glob("*/*")]
        self.assertLess(sum(sizes), CORPUS_BYTES_MAX)


class Pieces(SynchronousTestCase):
    @given(st.binary(max_size=40))
    def test_nothing_is_lost(self, sent: bytes) -> None:
        """The pieces of an input are the whole input, cut at the same positions each time."""
        pieces = [*in_pieces(sent)]
        self.assertEqual(b"".join(pieces), sent)
        self.assertNotIn(b"", pieces)
        self.assertEqual(pieces, [*in_pieces(sent)])
