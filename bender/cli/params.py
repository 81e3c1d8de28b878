"""Parse arguments of commands: ids, names, durations and `KEY=VALUE`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from itertools import pairwise
from math import inf
from typing import Any, TypeVar

import click
import msgspec

from bender.core.durations import parse_duration
from bender.core.invalid import Invalid
from bender.core.model import parse_name, registration_key

_Command = TypeVar("_Command", bound=Callable[..., Any])

PARTS = ("APP", "VERSION", "HOST", "PORT")
ID = "/".join(PARTS)
EXAMPLE = "web/1.2.0/10.0.0.5/8080"

#: Fields of backends and frontends, and of objects in them, whose values are text even if they look like numbers.
TEXTS = {"app", "backend", "balance", "bind", "host", "mode", "path", "version"}

_NUMBER = re.compile(r"[0-9]{1,3}(\.[0-9]{1,9})?")


def registration_id(words: tuple[str, ...]) -> str:
    """Return the id that is given as `web/1.2.0/10.0.0.5/8080`, with or without `registration/`, or as four words."""
    parts = "/".join(words).removeprefix("registration/").split("/")
    if len(parts) != len(PARTS):
        raise click.BadParameter(
            f"{' '.join(words)!r} is not an id: give {ID}, such as {EXAMPLE}", param_hint=f"'{ID}'"
        )
    try:
        return registration_key((parts[0], parts[1], parts[2], parts[3]))
    except Invalid as error:
        raise click.BadParameter(f"{error}, as in {EXAMPLE}", param_hint=f"'{ID}'") from error


class Name(click.ParamType[str]):
    """An app, a version, or the name of a backend or frontend."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return parse_name("name", value)
        except Invalid as error:
            why = f"{value!r} {str(error).removeprefix('name: ')}"
            parts = [part for part in str(value).removeprefix("registration/").split("/") if part]
            words = f"; give the name alone, such as {' or '.join(map(repr, parts))}" if len(parts) > 1 else ""
            self.fail(why + words, param, ctx)


class Pair(click.ParamType[tuple[str, Any]]):
    """`KEY=VALUE`. The value is decoded if it is valid JSON, and text otherwise."""

    name = "key=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, tuple):
            return value
        key, equals, text = value.partition("=")
        if not (key and equals):
            self.fail(f"{value!r} is not KEY=VALUE: give a pair such as zone=a", param, ctx)
        return key, parse_value(text)


meta_option = click.option(
    "--meta", multiple=True, type=Pair(), metavar="KEY=VALUE", help="A field of your own to store with the instance."
)


def weight_option(help_: str) -> Callable[[_Command], _Command]:
    return click.option("--weight", type=click.IntRange(0, 256), metavar="NUMBER", help=help_)


def for_option(help_: str) -> Callable[[_Command], _Command]:
    """Return the option for the duration of an operator's state, with the bounds of the API."""
    return click.option("--for", "for_s", type=Duration("1s", "30d"), metavar="DURATION", help=help_)


class TextPair(Pair):
    """`KEY=VALUE`, where the value is text."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        key, _ = super().convert(value, param, ctx)
        return key, str(value).partition("=")[2] if isinstance(value, str) else value[1]


class SettingParam(Pair):
    """`KEY=VALUE` of a backend or frontend; `KEY.KEY=VALUE` sets a part of an object.

    The value of a field in `TEXTS` is text: `canary.version=2` is the version "2".
    """

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        key, parsed_value = super().convert(value, param, ctx)
        if not all(key.split(".")):
            self.fail(f"{key!r} is not a KEY: give a field, or a path with dots such as health.path", param, ctx)
        if isinstance(value, str) and key.rpartition(".")[2] in TEXTS and not isinstance(parsed_value, str | None):
            return key, value.partition("=")[2]
        return key, parsed_value


class Duration(click.ParamType[float]):
    """A duration: a number of seconds, or numbers with units. The value is in seconds."""

    name = "duration"

    def __init__(self, least: str = "", most: str = "") -> None:
        self._least_s = seconds_of(least) or 0.0
        self._most_s = (seconds_of(most) if most else None) or inf
        self._range = " and ".join(filter(None, [least and f"at least {least}", most and f"at most {most}"]))

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, float):
            return value
        found = seconds_of(str(value).strip())
        if found is None:
            self.fail(f"{value!r} is not a duration: give seconds, or units as in 90s, 10m, 1h30m or 250ms", param, ctx)
        if not self._least_s <= found <= self._most_s:
            self.fail(f"{value!r} is out of range: give {self._range}", param, ctx)
        return found


def seconds_of(text: str) -> float | None:
    """Return the seconds of a duration such as `90`, `90s`, `1h30m` or `250ms`, or None if it is invalid."""
    try:
        return parse_duration(text)
    except ValueError:
        return None


class Events(click.ParamType[frozenset[str]]):
    """Names of events, with commas between them."""

    name = "events"
    known = ("online", "offline", "changed", "created", "removed", "synced")

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, frozenset):
            return value
        events = frozenset(value.split(","))
        for unknown in sorted(events - {*self.known}):
            self.fail(f"{unknown!r} is not an event: give some of {', '.join(self.known)}", param, ctx)
        return events


class Steps(click.ParamType[tuple[float, ...]]):
    """Increasing percentages, with commas between them."""

    name = "steps"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, tuple):
            return value
        texts = [each.strip() for each in value.split(",")]
        if not all(map(_NUMBER.fullmatch, texts)):
            self.fail(
                f"{value!r} is not a list of percentages: give numbers with commas between them, such as 5,25,100",
                param,
                ctx,
            )
        steps = tuple(float(each) if "." in each else int(each) for each in texts)
        for before, step in pairwise((0, *steps)):
            if not before < step <= 100:
                self.fail(
                    f"{value!r} does not rise: give larger and larger percentages, more than 0 and at most 100",
                    param,
                    ctx,
                )
        return steps


def fields(pairs: Iterable[tuple[str, Any]], where: str) -> dict[str, Any]:
    """Return the keys with their values. Raises `click.BadParameter`, which names `where`, if a key is given twice."""
    gather_results: dict[str, Any] = {}
    for key, value in pairs:
        if key in gather_results:
            raise click.BadParameter(f"{key!r} is given twice", param_hint=f"'{where}'")
        gather_results[key] = value
    return gather_results


def merge_fields(found: Mapping[str, Any], pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Return the fields that pairs such as `health.path=/` change, each as it is to be as a whole.

    Parts are merged into the fields `found` in the registry now. A part that is null is removed, and an object without
    parts becomes null.
    """
    changed: dict[str, Any] = {}
    for key, value in fields(pairs, "KEY=VALUE").items():
        first, *inner = key.split(".")
        if not inner:
            changed[first] = value
            continue
        if first not in changed:
            changed[first] = deepcopy(found.get(first))
        changed[first] = _with_part(changed[first], inner, value, (first,))
    return changed


def _with_part(whole: Any, inner: Sequence[str], value: Any, where: tuple[str, ...]) -> dict[str, Any] | None:
    if not (whole is None or isinstance(whole, dict)):
        name = ".".join(where)
        raise click.BadParameter(f"{name!r} is not an object, so it has no {inner[0]!r}", param_hint="'KEY=VALUE'")
    key, *rest = inner
    parts = dict(whole or {})
    parts[key] = _with_part(parts.get(key), rest, value, (*where, key)) if rest else value
    return {key: part for key, part in parts.items() if part is not None} or None


def require_disjoint(pairs: Iterable[tuple[str, Any]]) -> None:
    """Raise `click.BadParameter` if a pair sets a part of another, because the result would depend on their order."""
    keys = [tuple(key.split(".")) for key, _ in pairs]
    for whole in keys:
        for part in keys:
            if len(whole) < len(part) and part[: len(whole)] == whole:
                names = f"{'.'.join(whole)!r} and a part of it, {'.'.join(part)!r}"
                raise click.BadParameter(f"{names}, are given: give one or the other", param_hint="'KEY=VALUE'")


def parse_value(text: str) -> Any:
    """Return the decoded text if it is valid JSON, otherwise the text."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return text
