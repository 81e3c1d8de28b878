"""The definition of growth, and the structures that are measured."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from bender.core.index import Index
from bender.core.ledger import End
from tests.simulation.soak.growth import Limited, Sample, growing
from tests.simulation.soak.sizes import sizes


def samples(size: Callable[[int], int]) -> list[Sample]:
    """Return samples of a day, with one structure measured every five minutes."""
    return [Sample(300.0 * look, 20, {"node.table": size(look)}) for look in range(288)]


class Growing(SynchronousTestCase):
    """A structure grows if it never returns to an earlier size."""

    def grows(self, size: Callable[[int], int], **limits: Limited) -> list[str]:
        return [
            str(growth) for growth in growing(samples(size), {f"node.{name}": each for name, each in limits.items()})
        ]

    def test_leak(self) -> None:
        """A leak of one element in an hour is reported with its numbers, whatever else comes and goes."""
        random = Random(1)
        (named,) = self.grows(lambda look: 20 + look // 12 + random.randrange(40))
        self.assertRegex(
            named, r"^node\.table: at least 2\d → .* → 4\d elements in spans one after the other, up to \d+$"
        )

    def test_leak_from_nothing(self) -> None:
        self.assertEqual(len(self.grows(lambda look: look // 24)), 1)

    def test_noise(self) -> None:
        """A size that goes up and down is not reported, however large it sometimes is."""
        random = Random(2)
        self.assertEqual(self.grows(lambda look: 20 + random.randrange(400)), [])

    def test_waves(self) -> None:
        """A size that rises for hours, and then falls back, is not reported."""
        self.assertEqual(self.grows(lambda look: 20 + look % 48), [])

    def test_back_again(self) -> None:
        """A size that was once as small as in the beginning is not reported."""
        fewest = (7, 9, 11, 5, 10, 13)
        self.assertEqual(self.grows(lambda look: 2 * fewest[max(0, look - 24) * 6 // 264]), [])

    def test_warm_up(self) -> None:
        """A size that rises only in the first two hours is not reported."""
        self.assertEqual(self.grows(lambda look: 10 * min(look, 24)), [])

    def test_step(self) -> None:
        """A size that rises once, such as that of a table that doubles, is not reported."""
        self.assertEqual(self.grows(lambda look: 64 if look < 150 else 128), [])

    def test_limited(self) -> None:
        """A size with a limit may rise to the limit, and is reported beyond it."""
        limit = Limited(288, "entries of the table")
        self.assertEqual(self.grows(lambda look: look, table=limit), [])
        self.assertEqual(
            self.grows(lambda look: 2 + look, table=limit),
            ["node.table: 289 elements, at most 288 are allowed (entries of the table)"],
        )


class Measured(SynchronousTestCase):
    """All elements that an object of bender keeps are counted, by the path of attributes to them."""

    def test_containers(self) -> None:
        measured = sizes(root={"a": [1, 2], "b": deque([3]), "c": {4: {5, 6, 7}, 8: ()}, "d": bytearray(9)})
        self.assertEqual(measured, {"root": 4, "root[]": 2 + 1 + 2 + 0 + 9, "root[][]": 3})

    def test_keys(self) -> None:
        self.assertEqual(sizes(root={(1, 2): 0, (3, 4): 0}), {"root": 2, "root{}": 4})

    def test_slots_and_private_attributes(self) -> None:
        """Private attributes and slots are measured: the shards of an index, and the roots of an entry."""
        index = Index()
        index.add(End(1, 1, "registration/a/1/h/1", 10.0, 1, ((1, 2), (3, 4))))
        measured = sizes(index=index)
        self.assertEqual((measured["index._shards"], measured["index._shards[]"]), (64, 1))
        self.assertEqual(measured["index._shards[][].roots"], 2)

    def test_once(self) -> None:
        """A structure that is reached in two ways, or from itself, counts once."""
        kept: list[object] = [1, 2, 3]
        kept.append(kept)
        self.assertEqual(sizes(one=kept, other=[kept]), {"one": 4, "other": 1})
