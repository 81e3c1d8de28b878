"""Every target on the inputs that are kept, and on a short run of drawn ones that is always the same."""

from __future__ import annotations

from functools import partial

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.effort import effort
from tests.fuzz.target import CORPUS, Target, draw, in_pieces, load, names

#: Bytes of all inputs that are kept.
CORPUS_BYTES_MAX = 200_000


class Decoders(SynchronousTestCase):
    """No input breaks a promise of a decoder."""

    def run_with(self, target: Target, sent: bytes) -> None:
        try:
            target.run(sent)
        except Exception as error:
            error.add_note(f"Target {target.name} with the input {sent!r}")
            raise

    def test_the_inputs_that_are_kept(self) -> None:
        """Together they reach most of each decoder."""
        for name in names():
            target = load(name)
            kept = target.corpus()
            self.assertGreater(len(kept), 0, name)
            for sent in (*target.examples, *kept):
                self.run_with(target, sent)

    def test_drawn_inputs(self) -> None:
        """They are valid, or nearly so, or any bytes at all."""
        for name in names():
            target = load(name)
            draw(target.near | st.binary(max_size=100), effort(30, 500), partial(self.run_with, target))


class Kept(SynchronousTestCase):
    """The corpora."""

    def test_each_is_that_of_a_target(self) -> None:
        """A target that is renamed takes its corpus along."""
        self.assertEqual({path.name for path in CORPUS.iterdir()}, {*names()})

    def test_they_are_small(self) -> None:
        """They are a part of the repository."""
        sizes = [path.stat().st_size for path in CORPUS.glob("*/*")]
        self.assertLess(sum(sizes), CORPUS_BYTES_MAX)


class Pieces(SynchronousTestCase):
    @given(st.binary(max_size=40))
    def test_nothing_is_lost(self, sent: bytes) -> None:
        """The pieces of an input are the input, cut at the same places each time."""
        pieces = [*in_pieces(sent)]
        self.assertEqual(b"".join(pieces), sent)
        self.assertNotIn(b"", pieces)
        self.assertEqual(pieces, [*in_pieces(sent)])
