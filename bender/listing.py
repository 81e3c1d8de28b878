"""Lists of registrations as clients get them: put together once after a change, and long ones in slices.

A list that did not change since somebody asked for it costs a look at a number. What is kept is bounded, whatever is
asked for. It must never hold up the reactor: to put 100,000 registrations together takes 50 ms, so that is done piece
by piece, and what changes meanwhile may be in the list or not.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import blake2b
from typing import Any

from bender.core.ledger import Claim
from bender.core.model import registration, registration_bytes
from bender.core.standing import USUAL, Standing
from bender.core.view import View, in_order

#: Registrations in a list that is put together in one go: 1 MB, in 3 ms.
AT_ONCE_MAX = 5_000

#: Lists that are kept, in bytes.
KEPT_BYTES_MAX = 16 * 1024 * 1024

#: Registrations looked at in one slice, which takes about 2 ms, or 5 if their meta has to be read.
SLICE = 5_000

#: Registrations in one of the pieces in which a long list is sent; they are put together in 0.3 ms.
PIECE = 256

#: Fast rather than small: a list of 100 registrations deflates to a tenth in 0.1 ms, for 10 % less it would take 0.4.
DEFLATE_LEVEL = 1


class Listing:
    """A JSON array of objects that are JSON already. Its tag follows from its content, the same on all nodes.

    `answers` is for whoever gives the same answer with it again and again.
    """

    __slots__ = ("_etag", "_gzipped", "answers", "body")

    def __init__(self, bodies: Iterable[bytes]) -> None:
        self.body = b"[%b]" % b",".join(bodies)
        self.answers: dict[bool, Any] = {}
        self._etag: str | None = None
        self._gzipped: bytes | None = None

    @property
    def etag(self) -> str:
        if self._etag is None:
            self._etag = blake2b(self.body, digest_size=12).hexdigest()
        return self._etag

    @property
    def gzipped(self) -> bytes:
        if self._gzipped is None:
            self._gzipped = b"".join(gzip_pieces([self.body]))
        return self._gzipped

    @property
    def kept_bytes(self) -> int:
        """What it takes if it is asked for in both ways."""
        return 2 * len(self.body)


class Listings:
    """The lists of what a view shows, of all, an app or a version of it, as long as they are right.

    `name` must be another one at each start of a node: it stands in the tags of long lists.
    """

    def __init__(self, view: View, name: str) -> None:
        self._view = view
        self._name = name
        # In order of their last use.
        self._kept: dict[tuple[str | None, str | None], tuple[int, Listing]] = {}
        self._kept_bytes = 0

    def is_long(self, app: str | None, version: str | None) -> bool:
        """Whether a list has to be made in slices."""
        return self._view.count_of(app, version) > AT_ONCE_MAX

    def listing(self, app: str | None, version: str | None) -> Listing:
        """A list that is not long."""
        stamp = self._view.stamp(app)
        kept = self._kept.pop((app, version), None)
        if kept is not None and kept[0] == stamp:
            self._kept[app, version] = kept
            return kept[1]
        if kept is not None:
            self._kept_bytes -= kept[1].kept_bytes
        claims = (claim for group in self._view.groups(app, version) for claim in in_order(group))
        listing = Listing(map(self._view.registration, claims))
        self._keep((app, version), stamp, listing)
        return listing

    def long_listing(
        self, app: str | None, version: str | None, admits: Callable[[bytes], bool] | None = None
    ) -> LongListing:
        """A list that is to be made in slices. `admits` says which of the registrations are wanted, if not all."""
        return LongListing(self._view, self._name, app, version, admits)

    def _keep(self, which: tuple[str | None, str | None], stamp: int, listing: Listing) -> None:
        self._kept[which] = (stamp, listing)
        self._kept_bytes += listing.kept_bytes
        while self._kept_bytes > KEPT_BYTES_MAX:
            _, oldest = self._kept.pop(next(iter(self._kept)))
            self._kept_bytes -= oldest.kept_bytes


class LongListing:
    """A list that is made in slices: take all `steps`, and then it is there.

    What it has of one version of an app is of one instant, but for standings, which all are of that at which it was
    begun. Its tag holds at this node only, and not at all where something changed meanwhile.
    """

    def __init__(
        self, view: View, name: str, app: str | None, version: str | None, admits: Callable[[bytes], bool] | None
    ) -> None:
        self._view = view
        self._name = name
        self._which = (app, version)
        self._admits = admits
        self._claims: list[Claim] = []
        self._standings: dict[str, Standing] = {}
        self.etag = ""
        #: Of the array as JSON, in bytes.
        self.length = 0

    def steps(self) -> Iterator[None]:
        app, _ = self._which
        began_at = self._view.stamp(app)
        standings = self._standings = self._view.standings()
        looked_at = 0
        for group in self._view.groups(*self._which):
            for portion in batched(in_order(group), SLICE):
                wanted = portion if self._admits is None else [c for c in portion if self._admits(c.body)]
                self._claims += wanted
                self.length += sum([registration_bytes(c.key, c.body, standings.get(c.key, USUAL)) for c in wanted])
                looked_at += len(portion)
                if looked_at >= SLICE:
                    looked_at = 0
                    yield
        self.length += len("[]") + max(0, len(self._claims) - 1)
        ended_at = self._view.stamp(app)
        # With two stamps in it, a tag will never be right again.
        self.etag = f"{self._name}-{began_at}" + (f"-{ended_at}" if ended_at != began_at else "")

    def pieces(self) -> Iterator[bytes]:
        """The array as JSON. Can be had once."""
        opening, standings = b"[", self._standings
        for portion in batched(self._claims, PIECE):
            yield opening + b",".join([registration(c.key, c.body, standings.get(c.key, USUAL)) for c in portion])
            opening = b","
        yield b"]" if self._claims else b"[]"


def batched(items: Sequence[Claim], size: int) -> Iterator[Sequence[Claim]]:
    for begin in range(0, len(items), size):
        yield items[begin : begin + size]


def gzip_pieces(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same, deflated, as they come."""
    deflating = zlib.compressobj(DEFLATE_LEVEL, wbits=zlib.MAX_WBITS | 16)
    for piece in pieces:
        deflated = deflating.compress(piece)
        if deflated:
            yield deflated
    yield deflating.flush()
