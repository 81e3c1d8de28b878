"""What people type as arguments: ids, names, and `KEY=VALUE`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import click
import msgspec

from bender.core.model import Invalid, parse_name, registration_key

PARTS = ("APP", "VERSION", "HOST", "PORT")
ID = "/".join(PARTS)

_NUMBER = re.compile(r"[0-9]{1,3}(\.[0-9]{1,9})?")


def registration_id(words: tuple[str, ...]) -> str:
    """The id that words make together: `web/1.2.0/10.0.0.5/8080`, also with `registration/`, or as four words."""
    parts = "/".join(words).removeprefix("registration/").split("/")
    if len(parts) != len(PARTS):
        raise click.BadParameter(f"{' '.join(words)!r} is no id", param_hint=f"'{ID}'")
    try:
        return registration_key((parts[0], parts[1], parts[2], parts[3]))
    except Invalid as error:
        raise click.BadParameter(str(error), param_hint=f"'{ID}'") from error


class Name(click.ParamType[str]):
    """An app, a version, or the name of a backend or frontend."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return parse_name("name", value)
        except Invalid as error:
            self.fail(f"{value!r} {str(error).removeprefix('name: ')}", param, ctx)


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


class Events(click.ParamType[frozenset[str]]):
    """Events of what is watched, by their names, with commas between them."""

    name = "events"
    known = ("online", "offline", "changed", "created", "removed", "synced")

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, frozenset):
            return value
        events = frozenset(value.split(","))
        for unknown in sorted(events - {*self.known}):
            self.fail(f"{unknown!r} is none of {', '.join(self.known)}", param, ctx)
        return events


class Steps(click.ParamType[tuple[float, ...]]):
    """Percentages that rise, with commas between them."""

    name = "steps"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, tuple):
            return value
        texts = [each.strip() for each in value.split(",")]
        if not all(map(_NUMBER.fullmatch, texts)):
            self.fail(f"{value!r} is not percentages with commas between them", param, ctx)
        steps = tuple(float(each) if "." in each else int(each) for each in texts)
        for before, step in pairwise((0, *steps)):
            if not before < step <= 100:
                self.fail(f"{value!r} does not rise from more than 0 to at most 100", param, ctx)
        return steps


def fields(pairs: Iterable[tuple[str, Any]], where: str) -> dict[str, Any]:
    """Keys and values; `where` they were typed is named if one stands there twice, of which one would be lost."""
    together: dict[str, Any] = {}
    for key, value in pairs:
        if key in together:
            raise click.BadParameter(f"{key!r} is given twice", param_hint=f"'{where}'")
        together[key] = value
    return together


def parsed(text: str) -> Any:
    """What is JSON as it is, all else as text."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return text
