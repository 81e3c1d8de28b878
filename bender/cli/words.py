"""What people type as arguments: ids, names, and `KEY=VALUE`."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from bender.core.model import Invalid, registration_key

PARTS = ("APP", "VERSION", "HOST", "PORT")


def registration_id(words: tuple[str, ...]) -> str:
    """The id that words make together: `web/1.2.0/10.0.0.5/8080`, also with `registration/`, or as four words."""
    parts = "/".join(words).removeprefix("registration/").split("/")
    if len(parts) != len(PARTS):
        raise click.BadParameter(f"{' '.join(words)!r} is no id: give {'/'.join(PARTS)}", param_hint="ID")
    try:
        return registration_key((parts[0], parts[1], parts[2], parts[3]))
    except Invalid as error:
        raise click.BadParameter(str(error), param_hint="ID") from error


class Pair(click.ParamType[tuple[str, Any]]):
    """`KEY=VALUE`; the value is JSON if it can be read so, and text otherwise."""

    name = "key=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, tuple):
            return value
        key, equals, text = value.partition("=")
        if not (key and equals):
            self.fail(f"{value!r} is not KEY=VALUE", param, ctx)
        return key, parsed(text)


class TextPair(Pair):
    """`KEY=VALUE`, where the value is text."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        key, _ = super().convert(value, param, ctx)
        return key, str(value).partition("=")[2] if isinstance(value, str) else value[1]


def parsed(text: str) -> Any:
    """What is JSON as it is, all else as text."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return text
