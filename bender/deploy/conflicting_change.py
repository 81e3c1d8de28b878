"""Describe a change by another client in the middle of a deploy.

The operator who reads it did not make that change. So the text names its author, what serves now, and the command that
restores what served when the deploy began.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

import msgspec

from bender.client import BenderError, Client
from bender.client.objects import describe_serving
from bender.core.change_description import differences
from bender.deploy.backend_update import ChangedMeanwhile
from bender.deploy.plan import Settings, are_same

#: Fields that decide which version serves; changes of other fields stay.
_VERSION_FIELDS = ("app", "version", "canary")

#: Fields that are given to a command in other ways than as KEY=VALUE.
_NAMES = ("id", "resource", "name", "app", "version")


async def interruption(client: Client, name: str, found: Settings, mine: Settings, changed: ChangedMeanwhile) -> str:
    """Return who has `changed` a backend, what serves now and the way back to what was `found`, in a sentence.

    `mine` is how the deploy had set it last.
    """
    author = await _author(client, name, changed.seen)
    by = f"{changed}{f' ({author})' if author else ''}"
    stops = "the deploy stops and changes nothing more"
    if changed.seen is None:
        return f"{by}: {stops}; {command(name, found)} creates it again"
    what = ", ".join(differences(mine, changed.seen)) or "another setting"
    now = f"{by}: {what}; {stops}: {describe_serving(changed.seen)} serves now"
    back = {key: found.get(key) for key in _VERSION_FIELDS if found.get(key) != changed.seen.get(key)}
    if not back:
        return f"{now}, as before the deploy"
    return f"{now}; {command(name, back)} restores what served before the deploy"


async def _author(client: Client, name: str, seen: Settings | None) -> str:
    """Return the author of these settings of a backend; an empty text if no history has them."""
    try:
        history = await client.backend_history(name)
    except BenderError:
        return ""
    for setting in history:
        same = setting.settings is None if seen is None else are_same(setting.settings or {}, seen)
        if same:
            return setting.author
    return ""


def command(name: str, fields: Mapping[str, Any]) -> str:
    """Return the command that sets these fields of a backend."""
    words = ["bender", "backend", "set", name]
    for option in ("app", "version"):
        words += [f"--{option}", fields[option]] if option in fields else []
    words += [f"{key}={msgspec.json.encode(value).decode()}" for key, value in fields.items() if key not in _NAMES]
    return shlex.join(words)
