"""Backends and frontends by their ids, for what treats both kinds alike."""

from __future__ import annotations

from bender.client.client import Client, path_of
from bender.client.responses import Reader, read_backend, read_frontend
from bender.client.types import Backend, Frontend, NotFound


def reader_of(id_: str) -> Reader[Backend | Frontend]:
    """Return what reads the answer about a backend or frontend."""
    return read_backend if id_.startswith("backend/") else read_frontend


async def current(client: Client, id_: str) -> Backend | Frontend | None:
    """Return a backend or frontend as it is now, None where there is none."""
    try:
        found, _ = await client.read(reader_of(id_), "GET", path_of(id_))
    except NotFound:
        return None
    return found
