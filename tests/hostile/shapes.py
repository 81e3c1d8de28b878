"""Shapes of messages: hypothesis draws them from the annotations of the wire's own types.

Hypothesis takes hours to draw 200,000 messages. So it draws a few hundred shapes of each type: its parts, their number,
and each value, either within its annotation or `Like` those in use at the moment of sending. A nested value, such as a
delta in a message, is any shape of its type. All limits come from the annotations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal

import msgspec.inspect as types
from attrs import frozen
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

#: Items of a list or map in most shapes. The crowds of the storm test peers that send many.
ITEMS_MAX = 4

#: The limit of integers without one in their annotation, because MessagePack has no larger ones.
SIGNED_MIN, UNSIGNED_MAX = -(2**63), 2**64 - 1
FLOAT_MAX = 1e300

_CONTROLS: tuple[Literal["Cs", "Cc", "Cf", "Zl", "Zp"], ...] = ("Cs", "Cc", "Cf", "Zl", "Zp")

_ANYTHING = st.one_of(st.none(), st.booleans(), st.integers(0, 9), st.text(max_size=4), st.lists(st.none(), max_size=2))


@frozen
class Like:
    """A placeholder for a value like those in use: `of` is the struct and the field, such as `Delta.version`."""

    of: str


@frozen
class Number:
    """A number between two limits, which can be varied."""

    value: float
    least: float
    most: float
    is_whole: bool


@frozen
class Struct:
    """A struct: the name of its type, and its fields in order; the last ones may be missing."""

    name: str
    fields: dict[str, Any]


@frozen
class Of:
    """A placeholder for any shape of a struct, by the name of its type."""

    name: str


@frozen
class Map:
    """A map, as pairs, whose keys may be equal."""

    pairs: list[tuple[Any, Any]]


def shapes_of(roots: Iterable[type], count: int, number: int, like: frozenset[str]) -> dict[str, list[Struct]]:
    """Draw shapes of some structs, and of their parts, from a seed. Return them by the names of their types.

    Fields in `like` mostly get values like those in use.
    """
    shapes = _Shapes(like)
    shapes.waiting = [*roots]
    drawn: dict[str, list[Struct]] = {}
    while shapes.waiting:
        cls = shapes.waiting.pop()
        if name_of(cls) not in drawn:
            drawn[name_of(cls)] = _drawn(shapes.struct(cls), count, number)
    return drawn


def name_of(cls: type) -> str:
    return cls.__name__.removeprefix("Wire")


def _drawn(strategy: st.SearchStrategy[Struct], count: int, number: int) -> list[Struct]:
    drawn: list[Struct] = []

    @seed(number)
    @settings(
        max_examples=count, database=None, deadline=None, phases=[Phase.generate], suppress_health_check=[*HealthCheck]
    )
    @given(strategy)
    def draw(shape: Struct) -> None:
        drawn.append(shape)

    draw()
    return drawn


class _Shapes:
    def __init__(self, like: frozenset[str]) -> None:
        self._like = like
        #: Structs that were found, and need shapes.
        self.waiting: list[type] = []

    def struct(self, cls: type) -> st.SearchStrategy[Struct]:
        struct = types.type_info(cls)
        assert isinstance(struct, types.StructType)
        name = name_of(cls)
        fields = {field.encode_name: self.of(field.type, f"{name}.{field.name}") for field in struct.fields}
        return st.fixed_dictionaries(fields).map(lambda values: Struct(name, {each: values[each] for each in fields}))

    def of(self, type_: types.Type, place: str) -> st.SearchStrategy[Any]:
        """Draw a value of a type; `place` is the name of a struct and a field."""
        allowed = self._allowed(type_, place)
        # Most are like those in use, because messages with only random values are nearly all meaningless.
        times = 12 if place.endswith(".incarnation") else 3
        return st.one_of(*[st.just(Like(place))] * times, allowed) if place in self._like else allowed

    def _allowed(self, type_: types.Type, place: str) -> st.SearchStrategy[Any]:
        make: dict[type, Callable[[Any, str], st.SearchStrategy[Any]]] = {
            types.IntType: lambda t, _: _numbers(t, is_whole=True),
            types.FloatType: lambda t, _: _numbers(t, is_whole=False),
            types.StrType: lambda t, _: _texts(t),
            types.BytesType: lambda t, _: st.binary(max_size=20),
            types.BoolType: lambda _, __: st.booleans(),
            types.NoneType: lambda _, __: st.none(),
            types.AnyType: lambda _, __: _ANYTHING,
            types.LiteralType: lambda t, _: st.sampled_from(t.values),
            types.ListType: lambda t, place: st.lists(self.of(t.item_type, place + "[]"), max_size=ITEMS_MAX),
            types.VarTupleType: lambda t, place: st.lists(self.of(t.item_type, place + "[]"), max_size=ITEMS_MAX),
            types.TupleType: lambda t, place: st.tuples(*(self.of(item, place + "[]") for item in t.item_types)),
            types.DictType: self._map,
            types.UnionType: lambda t, place: st.one_of(*(self._allowed(each, place) for each in t.types)),
            types.StructType: self._of_struct,
        }
        return make[type(type_)](type_, place)

    def _map(self, type_: types.DictType, place: str) -> st.SearchStrategy[Map]:
        pair = st.tuples(self.of(type_.key_type, place + "{}"), self.of(type_.value_type, place + "{}="))
        return st.lists(pair, max_size=ITEMS_MAX).map(Map)

    def _of_struct(self, type_: types.StructType, _: str) -> st.SearchStrategy[Of]:
        self.waiting.append(type_.cls)
        return st.just(Of(name_of(type_.cls)))


def _numbers(type_: types.IntType | types.FloatType, *, is_whole: bool) -> st.SearchStrategy[Number]:
    smallest = 1 if is_whole else 1e-9
    lowest, highest = (SIGNED_MIN, UNSIGNED_MAX) if is_whole else (-FLOAT_MAX, FLOAT_MAX)
    least = type_.ge if type_.ge is not None else lowest if type_.gt is None else type_.gt + smallest
    most = type_.le if type_.le is not None else highest if type_.lt is None else type_.lt - smallest
    inside = st.integers(int(least), int(most)) if is_whole else st.floats(least, most, allow_nan=False)
    ends = st.sampled_from([least, most])
    return st.one_of(inside, ends).map(lambda value: Number(value, least, most, is_whole))


def _texts(type_: types.StrType) -> st.SearchStrategy[str]:
    longest = type_.max_length or 40
    if type_.pattern is not None and ":" in type_.pattern:  # an address
        return st.sampled_from(["x:1", "x" * (longest - 6) + ":65535", "~!$%&'()*+,;=:00000", "%00:1", "[::1]:80"[1:]])
    anything, printable = st.characters(exclude_categories=["Cs"]), st.characters(exclude_categories=[*_CONTROLS])
    short = st.text(anything if type_.pattern is None else printable, min_size=type_.min_length or 0, max_size=12)
    return st.one_of(short, st.sampled_from(["x" * longest, "\U0001f4a3" * longest]))
