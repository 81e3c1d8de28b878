"""Build the paths and headers of requests to the API of a node."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, urlencode


def path_of(id_: str) -> str:
    """Return the path of the registration, backend or frontend with this id."""
    kind, _, name = id_.partition("/")
    return f"/{kind}s/{quote(name, safe='/:')}"


def with_force(path: str, *, force: bool) -> str:
    """Return the path, with `?force` if `force` is True: the request then takes effect even if it removes traffic."""
    return f"{path}?force" if force else path


def explain_path(id_: str) -> str:
    """Return the path of the explanation why an instance is listed or not."""
    return f"/explain/{quote(id_, safe='/:')}"


def guard_path(app: str) -> str:
    """Return the path of the guard of an app."""
    return join_path("guard", app)


def list_path(app: str | None, version: str | None, meta: Mapping[str, str]) -> str:
    """Return the path of the list of registrations of an app, a version and `meta`; None stands for all.

    Raises `ValueError` for a version without an app.
    """
    if app is None and version is not None:
        raise ValueError("a version needs an app: give both")
    names = [name for name in (app, version) if name is not None]
    query = urlencode({f"meta.{key}": value for key, value in meta.items()})
    return join_path("registrations", *names) + (f"?{query}" if query else "")


def join_path(*parts: str) -> str:
    """Return the path with these parts, percent-encoded."""
    return "".join(f"/{quote(part, safe=':')}" for part in parts)


def if_match_header(etag: str | None) -> dict[str, str]:
    """Return the header of a request that takes effect only if the object still has this tag; none for None."""
    return {} if etag is None else {"If-Match": etag}
