"""Lists of registrations as clients get them: put together once after a change, all but short ones in slices.

A list that did not change since its last request costs a look at a number. The lists kept are bounded, whatever is
requested. It must never hold up the reactor: to put 100,000 registrations together takes 50 ms, so that is done piece
by piece, and what changes meanwhile may be in the list or not.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import blake2b

from attrs import frozen

from bender.core.ledger import Claim
from bender.core.model import registration, registration_bytes
from bender.core.registration_status import USUAL, RegistrationStatus
from bender.core.view import View, in_order

#: Registrations in a list that is put together in one go: 60 KB, in 0.15 ms, or 0.3 ms if their meta is looked at.
AT_ONCE_MAX = 250

#: Registrations in a list that is of one instant, with a tag that is the same on all nodes: their claims are put in
#: order in 0.3 ms. A longer one may change while it is made.
OF_ONE_INSTANT_MAX = 5_000

#: What a list takes of each registration in it that is not put together yet: the rest is shared with the view.
REFERENCE_BYTES = 8

#: Lists that are kept, in bytes, and their number: each takes up to a KiB beside its bytes, and those of apps and
#: versions that are gone stay until others need the place.
KEPT_BYTES_MAX = 16 * 1024 * 1024
KEPT_MAX = 10_000

#: Lists that are being made, for requests that come meanwhile.
MAKING_MAX = 16

#: Registrations in a slice, and in one of the pieces in which a list is sent: looked at, and put together, in 0.3 ms.
SLICE = 256

#: Bytes of their bodies: to deflate as much takes 1 ms.
SLICE_BYTES = 64 * 1024

#: Fast rather than small: a list of 100 registrations deflates to a tenth in 0.1 ms, for 10 % less it would take 0.4.
DEFLATE_LEVEL = 1


@frozen
class ListForm:
    """The form in which a list shows registrations.

    `show` makes the JSON of a registration from its key, its encoded terms and its status. `cost` is the time that it
    takes, as a multiple of the time of the API's own form. `size` returns the bytes of that JSON, where they are known
    without making it; without it, the length of the longest lists is not known before they are sent.
    """

    show: Callable[[str, bytes, RegistrationStatus], bytes]
    cost: int = 1
    size: Callable[[str, bytes, RegistrationStatus], int] | None = None


#: Registrations as the API shows them.
REGISTRATIONS = ListForm(registration, size=registration_bytes)


class Listing:
    """A JSON array of objects that are JSON already. Its tag follows from its content, the same on all nodes."""

    __slots__ = ("_etag", "_gzipped", "body")

    def __init__(self, bodies: Iterable[bytes]) -> None:
        self.body = b"[%b]" % b",".join(bodies)
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
        """Return the bytes that it takes if it is asked for in both ways."""
        return 2 * len(self.body)


class Listings:
    """The lists of what a view shows, of all, an app or a version of it, as long as they are right.

    `name` must be another one at each start of a node: it stands in the tags of the longest lists.
    """

    def __init__(self, view: View, name: str, form: ListForm = REGISTRATIONS) -> None:
        self._view = view
        self._name = name
        self._form = form
        # In order of their last use.
        self._kept: dict[_Which, tuple[int, Listing | LongListing]] = {}
        self._kept_bytes = 0
        self._making: dict[_Which, tuple[int, LongListing]] = {}

    def in_form(self, form: ListForm) -> Listings:
        """Return the lists of the same view in another form."""
        return Listings(self._view, self._name, form)

    def is_long(self, app: str | None, version: str | None) -> bool:
        """Whether a list has to be made in slices."""
        return self._view.count_of(app, version) > AT_ONCE_MAX // self._form.cost

    def held_bytes(self, app: str | None, version: str | None) -> int:
        """Return about the memory that a long list takes until it is sent; 0 if that is little."""
        count = self._view.count_of(app, version)
        return REFERENCE_BYTES * count if count > OF_ONE_INSTANT_MAX else 0

    def listing(self, app: str | None, version: str | None) -> Listing:
        """Return a list that is not long."""
        kept = self._present((app, version))
        if isinstance(kept, Listing):
            return kept
        claims = (claim for group in self._view.groups(app, version) for claim in in_order(group))
        show, status = self._form.show, self._view.status
        listing = Listing(show(claim.key, claim.body, status(claim.key)) for claim in claims)
        # A list of nothing is not kept, because it takes no bytes that would limit how many of them there are.
        if self._view.count_of(app, version):
            self._keep((app, version), self._view.stamp(app), listing)
        return listing

    def kept(self, app: str | None, version: str | None) -> LongListing | None:
        """Return a long list that was made before and is still right."""
        kept = self._present((app, version))
        return kept if isinstance(kept, LongListing) else None

    def long_listing(
        self, app: str | None, version: str | None, admits: Callable[[bytes], bool] | None = None
    ) -> LongListing:
        """Return a list that is to be made in slices. `admits` says which of the registrations are wanted, if not all.

        Clients that ask for the same list at the same time share one.
        """
        which = (app, version)
        if admits is not None:
            return LongListing(self._view, self._name, self._form, which, admits)
        stamp = self._view.stamp(app)
        making = self._making.get(which)
        if making is not None and making[0] == stamp:
            return making[1]

        def made(listing: LongListing) -> None:
            if self._making.get(which) == (stamp, listing):
                del self._making[which]
            if listing.is_kept and self._view.stamp(app) == stamp:
                self._keep(which, stamp, listing)

        listing = LongListing(self._view, self._name, self._form, which, None, made)
        self._making.pop(which, None)
        self._making[which] = (stamp, listing)
        if len(self._making) > MAKING_MAX:
            del self._making[next(iter(self._making))]
        return listing

    def _present(self, which: _Which) -> Listing | LongListing | None:
        kept = self._kept.pop(which, None)
        if kept is None:
            return None
        stamp, listing = kept
        if stamp == self._view.stamp(which[0]):
            self._kept[which] = kept
            return listing
        self._kept_bytes -= listing.kept_bytes
        return None

    def _keep(self, which: _Which, stamp: int, listing: Listing | LongListing) -> None:
        self._present(which)
        before = self._kept.pop(which, None)
        if before is not None:
            self._kept_bytes -= before[1].kept_bytes
        self._kept[which] = (stamp, listing)
        self._kept_bytes += listing.kept_bytes
        while self._kept_bytes > KEPT_BYTES_MAX or len(self._kept) > KEPT_MAX:
            _, oldest = self._kept.pop(next(iter(self._kept)))
            self._kept_bytes -= oldest.kept_bytes


#: An app and a version, or None for all of them.
_Which = tuple[str | None, str | None]


class LongListing:
    """A list that is made in slices: take all `steps`, and then it is there. Any number of clients may take them.

    Up to `OF_ONE_INSTANT_MAX` registrations are those of one instant, and the tag follows from the content. In a longer
    list the registrations of one version of an app are those of one instant, and all statuses are those of the instant
    at which the list was begun; its tag holds at this node only, and there is none if something changed meanwhile.
    """

    def __init__(
        self,
        view: View,
        name: str,
        form: ListForm,
        which: _Which,
        admits: Callable[[bytes], bool] | None,
        made: Callable[[LongListing], None] = lambda _: None,
    ) -> None:
        self._view = view
        self._name = name
        self._form = form
        self._which = which
        self._admits = admits
        self._made = made
        self._claims: list[Claim] = []
        self._statuses: dict[str, RegistrationStatus] = {}
        self._slices: Iterator[None] | None = None
        self._complete = False
        # What is kept is sent again without putting it together.
        self._kept: list[bytes] | None = None
        self._gzipped: list[bytes] | None = None
        self.etag = ""
        #: Of the array as JSON, in bytes; None if that is not known.
        self.length: int | None = 0

    @property
    def is_kept(self) -> bool:
        """Whether it may be sent again to others."""
        return self._kept is not None

    @property
    def kept_bytes(self) -> int:
        """Return the bytes that it takes if it is asked for in both ways."""
        return 2 * (self.length or 0)

    def steps(self) -> Iterator[None]:
        """Each takes about 0.3 ms."""
        if self._slices is None:
            self._slices = self._make()
        while not self._complete:
            if next(self._slices, _FAILED) is _FAILED:
                raise RuntimeError("making this list failed already for another client that asked for it")
            yield

    def _make(self) -> Iterator[None]:
        of_one_instant = self._view.count_of(*self._which) <= OF_ONE_INSTANT_MAX
        yield from self._make_of_one_instant() if of_one_instant else self._make_longest()
        self._complete = True
        self._made(self)
        yield

    def _make_of_one_instant(self) -> Iterator[None]:
        claims = [claim for group in self._view.groups(*self._which) for claim in in_order(group)]
        self._statuses = self._view.statuses()
        self._kept = None if self._admits else []
        opening, digest, length = b"[", blake2b(digest_size=12), 0
        for portion in portions(claims, self._form.cost):
            wanted = self._wanted(portion)
            self._claims += wanted
            if wanted:
                piece = opening + self._joined(wanted)
                opening = b","
                digest.update(piece)
                length += len(piece)
                if self._kept is not None:
                    self._kept.append(piece)
                if 2 * length > KEPT_BYTES_MAX // 2:
                    self._kept = None
            yield
        closing = b"]" if self._claims else b"[]"
        digest.update(closing)
        self.length = length + len(closing)
        if self._kept is not None:
            self._kept.append(closing)
        self.etag = digest.hexdigest()

    def _make_longest(self) -> Iterator[None]:
        app, _ = self._which
        began_at = self._view.stamp(app)
        statuses = self._statuses = self._view.statuses()
        size, length = self._form.size, 0
        cost = 1 if size is None else self._form.cost
        looked_at = 0
        for group in self._view.groups(*self._which):
            for portion in portions(in_order(group), cost):
                wanted = self._wanted(portion)
                self._claims += wanted
                if size is not None:
                    length += sum([size(c.key, c.body, statuses.get(c.key, USUAL)) for c in wanted])
                looked_at += len(portion)
                if looked_at >= SLICE // cost:
                    looked_at = 0
                    yield
        self.length = None if size is None else length + len("[]") + max(0, len(self._claims) - 1)
        ended_at = self._view.stamp(app)
        # With two stamps in it, a tag will never be right again.
        self.etag = f"{self._name}-{began_at}" + (f"-{ended_at}" if ended_at != began_at else "")

    def _wanted(self, portion: Sequence[Claim]) -> Sequence[Claim]:
        admits = self._admits
        return portion if admits is None else [claim for claim in portion if admits(claim.body)]

    def pieces(self) -> Iterator[bytes]:
        """The array as JSON."""
        return iter(self._kept) if self._kept is not None else self._put_together()

    def _put_together(self) -> Iterator[bytes]:
        opening = b"["
        for portion in portions(self._claims, self._form.cost):
            yield opening + self._joined(portion)
            opening = b","
        yield b"]" if self._claims else b"[]"

    def _joined(self, claims: Sequence[Claim]) -> bytes:
        show, statuses = self._form.show, self._statuses
        return b",".join([show(c.key, c.body, statuses.get(c.key, USUAL)) for c in claims])

    def gzipped(self) -> Iterator[bytes]:
        """The same, deflated."""
        return iter(self._gzipped) if self._gzipped is not None else self._deflate()

    def _deflate(self) -> Iterator[bytes]:
        deflated: list[bytes] = []
        for piece in gzip_pieces(self.pieces()):
            if self.is_kept:
                deflated.append(piece)
            yield piece
        if self.is_kept:
            self._gzipped = deflated

    def whole(self) -> Listing:
        """The same in one piece; for one that is short after all, because few were wanted."""
        return Listing([b"".join(self.pieces())[1:-1]])


_FAILED = object()


def portions(claims: Sequence[Claim], cost: int = 1) -> Iterator[Sequence[Claim]]:
    """Yield all of them in order, a few at a time: work with a portion that costs `cost` for each takes little time."""
    begin = size = 0
    for i, claim in enumerate(claims, 1):
        size += len(claim.body)
        if i - begin >= SLICE // cost or size >= SLICE_BYTES // cost:
            yield claims[begin:i]
            begin, size = i, 0
    if begin < len(claims):
        yield claims[begin:]


def gzip_pieces(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same, deflated, as they come."""
    deflating = zlib.compressobj(DEFLATE_LEVEL, wbits=zlib.MAX_WBITS | 16)
    for piece in pieces:
        deflated = deflating.compress(piece)
        if deflated:
            yield deflated
    yield deflating.flush()
