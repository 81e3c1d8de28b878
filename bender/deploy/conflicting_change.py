"""Describe a change that another client made during a deploy.

The operator of the deploy did not make that change. So the text gives its author, the version that serves now, and the
command that restores the setting from before the deploy.
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

#: Fields that decide which version serves. The command does not restore other fields.
_VERSION_FIELDS = ("app", "version", "canary")

#: Fields that are not given to a command as KEY=VALUE.
_NAMES = ("id", "resource", "name", "app", "version")


async def describe_conflict(
    client: Client, name: str, found: Settings, last_set: Settings, changed: ChangedMeanwhile
) -> str:
    """Return a sentence with the author of a change, what serves now, and the command that restores `found`.

    `found` are the settings before the deploy, `last_set` the settings that the deploy made last.
    """
    author = await _author(client, name, changed.settings)
    by = f"{changed}{f' ({author})' if author else ''}"
    stops = "the deploy stops and changes nothing more"
    if changed.settings is None:
        return f"{by}: {stops}; {set_command(name, found)} creates it again"
    what = ", ".join(differences(last_set, changed.settings)) or "another setting"
    now = f"{by}: {what}; {stops}: {describe_serving(changed.settings)} serves now"
    back = {key: found.get(key) for key in _VERSION_FIELDS if found.get(key) != changed.settings.get(key)}
    if not back:
        return f"{now}, as before the deploy"
    return f"{now}; {set_command(name, back)} restores what served before the deploy"


async def _author(client: Client, name: str, settings: Settings | None) -> str:
    """Return the author of these settings of a backend, or an empty text if its history does not have them."""
    try:
        history = await client.backend_history(name)
    except BenderError:
        return ""
    for setting in history:
        same = setting.settings is None if settings is None else are_same(setting.settings or {}, settings)
        if same:
            return setting.author
    return ""


def set_command(name: str, fields: Mapping[str, Any]) -> str:
    """Return the command that sets these fields of a backend."""
    words = ["bender", "backend", "set", name]
    for option in ("app", "version"):
        words += [f"--{option}", fields[option]] if option in fields else []
    words += [f"{key}={msgspec.json.encode(value).decode()}" for key, value in fields.items() if key not in _NAMES]
    return shlex.join(words)
