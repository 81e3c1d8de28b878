"""Backends and frontends by their ids, for code that treats both kinds alike, and in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bender.client.client import Client
from bender.client.paths import path_of
from bender.client.responses import BACKEND_KIND, FRONTEND_KIND, Reader
from bender.client.types import Backend, Frontend, NotFound
from bender.core.members import canary_of


def reader_of(id_: str) -> Reader[Backend | Frontend]:
    """Return what reads the answer about a backend or frontend."""
    return BACKEND_KIND.read if id_.startswith("backend/") else FRONTEND_KIND.read


async def current(client: Client, id_: str) -> Backend | Frontend | None:
    """Return a backend or frontend as it is now, None where there is none."""
    try:
        found, _ = await client.read(reader_of(id_), "GET", path_of(id_))
    except NotFound:
        return None
    return found


def describe_serving(settings: Mapping[str, Any]) -> str:
    """Return the app and version that serve a backend, with the share of its canary."""
    canary = canary_of(settings)
    share = "" if canary is None else f" with {float(canary.percent):g} % of the traffic at {canary.version}"
    return f"{settings['app']} {settings['version']}{share}"
