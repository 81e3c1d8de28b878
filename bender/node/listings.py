"""Lists of registrations as clients get them: made once after a change, and long ones in slices.

A list that has not changed since its last request costs one comparison of numbers. The cached lists are bounded,
whatever clients request. A list must never block the reactor: making one of 100,000 registrations takes 50 ms, so it
is made piece by piece, and a change meanwhile may or may not be in the list.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import blake2b

from attrs import frozen

from bender.core.ledger import Claim
from bender.core.model import registration, registration_bytes
from bender.core.registration_status import USUAL, RegistrationStatus
from bender.core.view import View, sorted_claims

#: The most registrations in a short list, which is made at once: 60 KB, in 0.15 ms, or 0.3 ms if it selects by meta.
AT_ONCE_MAX = 250

#: The most registrations in a list of one instant, whose tag is the same on all nodes: their claims are sorted in
#: 0.3 ms. A longer list may change while it is made.
OF_ONE_INSTANT_MAX = 5_000

#: The bytes of a list for each registration in it before the JSON is made: the rest is shared with the view.
REFERENCE_BYTES = 8

#: The most bytes of cached lists, and their number: each takes up to a KiB beside its bytes, and lists of removed apps
#: and versions stay until others need the place.
CACHE_BYTES_MAX = 16 * 1024 * 1024
CACHED_MAX = 10_000

#: The most unfinished lists that later requests can share.
UNFINISHED_MAX = 16

#: Registrations in a slice, and in one piece of a list that is sent: 0.3 ms to select them and make their JSON.
SLICE = 256

#: The most bytes of the bodies in a slice: compressing them takes 1 ms.
SLICE_BYTES = 64 * 1024

#: Fast rather than small: a list of 100 registrations shrinks to a tenth in 0.1 ms; 10 % less would take 0.4 ms.
DEFLATE_LEVEL = 1


@frozen
class ListForm:
    """The form of the registrations in a list.

    `show` returns the JSON of a registration from its key, its encoded terms and its status. `cost` is the time of a
    call, as a multiple of the time of the API's own form. `size` returns the number of bytes of that JSON without
    making it; without `size`, the length of the longest lists is unknown until they are sent.
    """

    show: Callable[[str, bytes, RegistrationStatus], bytes]
    cost: int = 1
    size: Callable[[str, bytes, RegistrationStatus], int] | None = None


#: Registrations as the API shows them.
REGISTRATIONS = ListForm(registration, size=registration_bytes)


class Listing:
    """A JSON array of objects that are given as JSON. Its tag follows from the content, the same on all nodes."""

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
    def cache_bytes(self) -> int:
        """The bytes of the list in the cache if it is requested both plain and compressed."""
        return 2 * len(self.body)


class Listings:
    """A cache of the lists of a view's registrations: of all, of an app, or of a version of it.

    `name` must differ at each start of a node, because the tags of the longest lists contain it.
    """

    def __init__(self, view: View, name: str, form: ListForm = REGISTRATIONS) -> None:
        self._view = view
        self._name = name
        self._form = form
        # In order of their last use.
        self._cache: dict[_ListKey, tuple[int, Listing | LongListing]] = {}
        self._cache_bytes = 0
        self._making: dict[_ListKey, tuple[int, LongListing]] = {}

    def in_form(self, form: ListForm) -> Listings:
        """Return the lists of the same view in another form."""
        return Listings(self._view, self._name, form)

    def is_long(self, app: str | None, version: str | None) -> bool:
        """Return True if a list must be made in slices."""
        return self._view.count_of(app, version) > AT_ONCE_MAX // self._form.cost

    def long_listing_bytes(self, app: str | None, version: str | None) -> int:
        """Return about the bytes of memory that a long list takes until it is sent; 0 if they are few."""
        count = self._view.count_of(app, version)
        return REFERENCE_BYTES * count if count > OF_ONE_INSTANT_MAX else 0

    def short_listing(self, app: str | None, version: str | None) -> Listing:
        """Return a list that is not long, complete."""
        kept = self._present((app, version))
        if isinstance(kept, Listing):
            return kept
        claims = (claim for group in self._view.groups(app, version) for claim in sorted_claims(group))
        show, status = self._form.show, self._view.status
        listing = Listing(show(claim.key, claim.body, status(claim.key)) for claim in claims)
        # An empty list is not cached, because the limit of bytes would not bound the number of empty lists.
        if self._view.count_of(app, version):
            self._keep((app, version), self._view.stamp(app), listing)
        return listing

    def cached_long_listing(self, app: str | None, version: str | None) -> LongListing | None:
        """Return a long list that was made before and is still valid; None if there is none."""
        kept = self._present((app, version))
        return kept if isinstance(kept, LongListing) else None

    def long_listing(
        self, app: str | None, version: str | None, admits: Callable[[bytes], bool] | None = None
    ) -> LongListing:
        """Return a list that the caller makes in slices, of the registrations whose encoded terms `admits` accepts.

        Without `admits` it is of all, and clients that request it at the same time share it.
        """
        key = (app, version)
        if admits is not None:
            return LongListing(self._view, self._name, self._form, key, admits)
        stamp = self._view.stamp(app)
        making = self._making.get(key)
        if making is not None and making[0] == stamp:
            return making[1]

        def on_complete(listing: LongListing) -> None:
            if self._making.get(key) == (stamp, listing):
                del self._making[key]
            if listing.is_cacheable and self._view.stamp(app) == stamp:
                self._keep(key, stamp, listing)

        listing = LongListing(self._view, self._name, self._form, key, None, on_complete)
        self._making.pop(key, None)
        self._making[key] = (stamp, listing)
        if len(self._making) > UNFINISHED_MAX:
            del self._making[next(iter(self._making))]
        return listing

    def _present(self, key: _ListKey) -> Listing | LongListing | None:
        kept = self._cache.pop(key, None)
        if kept is None:
            return None
        stamp, listing = kept
        if stamp == self._view.stamp(key[0]):
            self._cache[key] = kept
            return listing
        self._cache_bytes -= listing.cache_bytes
        return None

    def _keep(self, key: _ListKey, stamp: int, listing: Listing | LongListing) -> None:
        self._present(key)
        before = self._cache.pop(key, None)
        if before is not None:
            self._cache_bytes -= before[1].cache_bytes
        self._cache[key] = (stamp, listing)
        self._cache_bytes += listing.cache_bytes
        while self._cache_bytes > CACHE_BYTES_MAX or len(self._cache) > CACHED_MAX:
            _, oldest = self._cache.pop(next(iter(self._cache)))
            self._cache_bytes -= oldest.cache_bytes


#: An app and a version, or None for all of them.
_ListKey = tuple[str | None, str | None]


class LongListing:
    """A list that is made in slices: it is complete after all `steps`. Any number of clients may take the steps.

    Up to `OF_ONE_INSTANT_MAX` registrations are those of one instant, and the tag follows from the content. In a longer
    list, the registrations of one version of an app are those of one instant, and all statuses are those of the instant
    at which the list was begun. Its tag is valid at this node only, and never again if something changed meanwhile.
    """

    def __init__(
        self,
        view: View,
        name: str,
        form: ListForm,
        key: _ListKey,
        admits: Callable[[bytes], bool] | None,
        on_complete: Callable[[LongListing], None] = lambda _: None,
    ) -> None:
        self._view = view
        self._name = name
        self._form = form
        self._app_and_version = key
        self._admits = admits
        self._on_complete = on_complete
        self._claims: list[Claim] = []
        self._statuses: dict[str, RegistrationStatus] = {}
        self._slices: Iterator[None] | None = None
        self._complete = False
        # The JSON for later requests; None if it is too long to cache, or made for one request.
        self._pieces: list[bytes] | None = None
        self._gzipped: list[bytes] | None = None
        self.etag = ""
        #: The bytes of the array as JSON; None if they are not known.
        self.length: int | None = 0

    @property
    def is_cacheable(self) -> bool:
        """Whether the list can be sent to later clients."""
        return self._pieces is not None

    @property
    def cache_bytes(self) -> int:
        """The bytes of the list in the cache if it is requested both plain and compressed."""
        return 2 * (self.length or 0)

    def steps(self) -> Iterator[None]:
        """Make the list, in steps of about 0.3 ms each. Raises `RuntimeError` if another client's step has failed."""
        if self._slices is None:
            self._slices = self._make()
        while not self._complete:
            if next(self._slices, _FAILED) is _FAILED:
                raise RuntimeError(
                    "making this list failed when another client asked for the same list: see the earlier line of the "
                    "log"
                )
            yield

    def _make(self) -> Iterator[None]:
        of_one_instant = self._view.count_of(*self._app_and_version) <= OF_ONE_INSTANT_MAX
        yield from self._make_of_one_instant() if of_one_instant else self._make_longest()
        self._complete = True
        self._on_complete(self)
        yield

    def _make_of_one_instant(self) -> Iterator[None]:
        claims = [claim for group in self._view.groups(*self._app_and_version) for claim in sorted_claims(group)]
        self._statuses = self._view.statuses()
        self._pieces = None if self._admits else []
        opening, digest, length = b"[", blake2b(digest_size=12), 0
        for portion in portions(claims, self._form.cost):
            selected = self._selected(portion)
            self._claims += selected
            if selected:
                piece = opening + self._joined(selected)
                opening = b","
                digest.update(piece)
                length += len(piece)
                if self._pieces is not None:
                    self._pieces.append(piece)
                if 2 * length > CACHE_BYTES_MAX // 2:
                    self._pieces = None
            yield
        closing = b"]" if self._claims else b"[]"
        digest.update(closing)
        self.length = length + len(closing)
        if self._pieces is not None:
            self._pieces.append(closing)
        self.etag = digest.hexdigest()

    def _make_longest(self) -> Iterator[None]:
        app, _ = self._app_and_version
        began_at = self._view.stamp(app)
        statuses = self._statuses = self._view.statuses()
        size, length = self._form.size, 0
        cost = 1 if size is None else self._form.cost
        looked_at = 0
        for group in self._view.groups(*self._app_and_version):
            for portion in portions(sorted_claims(group), cost):
                selected = self._selected(portion)
                self._claims += selected
                if size is not None:
                    length += sum([size(c.key, c.body, statuses.get(c.key, USUAL)) for c in selected])
                looked_at += len(portion)
                if looked_at >= SLICE // cost:
                    looked_at = 0
                    yield
        self.length = None if size is None else length + len("[]") + max(0, len(self._claims) - 1)
        ended_at = self._view.stamp(app)
        # A tag with two stamps never matches again.
        self.etag = f"{self._name}-{began_at}" + (f"-{ended_at}" if ended_at != began_at else "")

    def _selected(self, portion: Sequence[Claim]) -> Sequence[Claim]:
        admits = self._admits
        return portion if admits is None else [claim for claim in portion if admits(claim.body)]

    def pieces(self) -> Iterator[bytes]:
        """Iterate over the pieces of the array as JSON."""
        return iter(self._pieces) if self._pieces is not None else self._put_together()

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
        """Iterate over the same pieces, compressed with gzip."""
        return iter(self._gzipped) if self._gzipped is not None else self._deflate()

    def _deflate(self) -> Iterator[bytes]:
        deflated: list[bytes] = []
        for piece in gzip_pieces(self.pieces()):
            if self.is_cacheable:
                deflated.append(piece)
            yield piece
        if self.is_cacheable:
            self._gzipped = deflated

    def as_listing(self) -> Listing:
        """Return the list in one piece, for a list that is short because few registrations were selected."""
        return Listing([b"".join(self.pieces())[1:-1]])


_FAILED = object()


def portions(claims: Sequence[Claim], cost: int = 1) -> Iterator[Sequence[Claim]]:
    """Yield the claims in order, in portions so small that work of `cost` for each claim takes about 0.3 ms."""
    begin = size = 0
    for i, claim in enumerate(claims, 1):
        size += len(claim.body)
        if i - begin >= SLICE // cost or size >= SLICE_BYTES // cost:
            yield claims[begin:i]
            begin, size = i, 0
    if begin < len(claims):
        yield claims[begin:]


def gzip_pieces(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the pieces compressed with gzip, each as soon as it is available."""
    deflating = zlib.compressobj(DEFLATE_LEVEL, wbits=zlib.MAX_WBITS | 16)
    for piece in pieces:
        deflated = deflating.compress(piece)
        if deflated:
            yield deflated
    yield deflating.flush()
