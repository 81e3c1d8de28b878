"""`GET /metrics`: the metrics of a node for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator

from bender.api.node_metrics import node_families
from bender.api.responses import ApiRequest, ApiResponse, DeferredResponse, gzip_accepted
from bender.metrics.exposition import Exposition
from bender.node.listings import gzip_pieces
from bender.node.node import Node

_VARY = (b"Vary", b"Accept, Accept-Encoding")


def scrape(node: Node, request: ApiRequest) -> DeferredResponse:
    """Answer with all metrics, in a format that the client accepts; compressed if it accepts gzip."""
    exposition = Exposition(request.accept)
    gzipped = gzip_accepted(request)
    headers = ((b"Content-Type", exposition.content_type.encode()), _VARY)
    body: list[bytes] = []

    def steps() -> Iterator[None]:
        yield from exposition.steps(node_families(node))
        if not gzipped:
            body.extend(exposition.pieces)
            return
        for piece in gzip_pieces(exposition.pieces):
            body.append(piece)
            yield

    def answer() -> ApiResponse:
        encoding = ((b"Content-Encoding", b"gzip"),) if gzipped else ()
        return ApiResponse(200, b"".join(body), (*headers, *encoding))

    return DeferredResponse(steps(), answer)
