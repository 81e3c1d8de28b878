"""Read and describe backends and frontends by their ids, for code that treats both kinds alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bender.client.client import Client
from bender.client.paths import path_of
from bender.client.responses import BACKEND_KIND, FRONTEND_KIND, Reader
from bender.client.types import Backend, Frontend, NotFound
from bender.core.members import canary_of


def object_reader(id_: str) -> Reader[Backend | Frontend]:
    """Return the reader of an answer about the backend or frontend with this id."""
    return BACKEND_KIND.read if id_.startswith("backend/") else FRONTEND_KIND.read


async def current_object(client: Client, id_: str) -> Backend | Frontend | None:
    """Return the present backend or frontend with this id, or None if it does not exist."""
    try:
        found, _ = await client.read(object_reader(id_), "GET", path_of(id_))
    except NotFound:
        return None
    return found


def describe_serving(settings: Mapping[str, Any]) -> str:
    """Return a phrase with the app and version that serve a backend, and the share and version of its canary."""
    canary = canary_of(settings)
    share = "" if canary is None else f" with {float(canary.percent):g} % of the traffic at {canary.version}"
    return f"{settings['app']} {settings['version']}{share}"
