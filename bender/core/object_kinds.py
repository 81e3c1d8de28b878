"""Backends and frontends as kinds of objects: what clients may send of one, and the form in which it is kept.

A node refuses an unknown field that a client sends, because it may be a known field misspelled. A user's own fields
belong in `meta`. An object that an older release has kept with other fields stays unchanged, because readers ignore
these fields.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from attrs import frozen

from bender.core.did_you_mean import unknown_field
from bender.core.invalid import Invalid
from bender.core.model import ENTRY_BYTES_MAX, decode_json, printable_name, require_name, require_shallow, require_small

#: The largest `min_members` of a request. No node accepts more registrations than this.
MEMBERS_MIN_MAX = 1_000_000

_encoder = msgspec.json.Encoder()
_object = msgspec.json.Decoder(dict[str, Any])


@frozen
class Kind:
    """A kind of configured object, and its fields.

    - `required_names` and `optional_names` are the fields whose values are names.
    - `checks` has a function for each other field with a meaning. It raises `Invalid` for a value that the field
      cannot have.
    - `check_together` raises `Invalid` for fields that exclude each other.
    - `request_only_fields` are fields of a request that are not kept.
    """

    name: str
    resource: str
    required_names: tuple[str, ...] = ()
    optional_names: tuple[str, ...] = ()
    checks: Mapping[str, Callable[[Any], object]] = {}
    check_together: Callable[[Mapping[str, Any]], None] = lambda _merged: None
    request_only_fields: tuple[str, ...] = ()

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of all fields that a client may send."""
        return (
            "name",
            *self.required_names,
            *self.optional_names,
            *self.checks,
            "meta",
            *self.request_only_fields,
            "id",
            "resource",
        )

    def key(self, name: str) -> str:
        return f"{self.name}/{name}"

    def problem(self, name: str, kept: Mapping[str, Any]) -> str | None:
        """Return the problem of an object that is kept under a name; None if it has none.

        Only the fields on which bender itself relies are checked. Its other fields are checked by the reader of each,
        because a later release may have other rules for them.
        """
        for field, value in (("id", self.key(name)), ("resource", self.resource), ("name", name)):
            if kept.get(field) != value:
                return f"its {field} is not {value}"
        try:
            for field in self.required_names:
                require_name(field, kept.get(field))
            for field in self.optional_names:
                if kept.get(field) is not None:
                    require_name(field, kept[field])
        except Invalid as error:
            return str(error)
        return None

    def unknown_fields(self, kept: Mapping[str, Any]) -> list[str]:
        """Return the fields of an object that clients may not send. An older release may have kept some of them."""
        known = self.fields
        return [field for field in kept if field not in known]

    def require_known(self, sent: Mapping[str, Any], kept: Mapping[str, Any] = {}) -> None:
        """Raise `Invalid` for the first unknown field that was sent.

        An unknown field is allowed if `kept` has it and the request removes it with null.
        """
        for field in self.unknown_fields(sent):
            if field not in kept:
                raise Invalid(printable_name(field), unknown_field(f"a {self.name}", field, self.fields))
            if sent[field] is not None:
                name = printable_name(field)
                raise Invalid(
                    name,
                    f"is not a field of a {self.name}, though an older release has kept it there: move it into meta, "
                    f'with {{"{name}": null, "meta": {{"{name}": …}}}}',
                )

    def merged_body(
        self,
        name: str,
        sent: Mapping[str, Any],
        existing: bytes | None = None,
        bytes_max: int = ENTRY_BYTES_MAX,
    ) -> bytes:
        """Return an object of this kind as JSON: `existing` with the fields that were sent, or a new object.

        Raises `Invalid` for a field that the object cannot have, and `TooLarge` if the JSON has more than `bytes_max`
        bytes.
        """
        require_name("name", name)
        if sent.get("name", name) != name:
            raise Invalid("name", f"must be {name}, as in the path")
        if sent.get("resource") not in (None, self.resource):
            raise Invalid("resource", f"must be {self.resource}")
        if sent.get("id") not in (None, self.key(name)):
            raise Invalid("id", f"must be {self.key(name)}, or be left out")
        fixed = {"id": self.key(name), "resource": self.resource, "name": name}
        old = {} if existing is None else _object.decode(existing)
        self.require_known(sent, old)
        removed = self.unknown_fields(sent)
        merged = {**fixed, **dict.fromkeys((*self.required_names, *self.optional_names)), **old, **sent, **fixed}
        merged = {field: value for field, value in merged.items() if field not in removed}
        for field in self.required_names:
            if existing is None and merged[field] is None:
                raise Invalid(field, f"is required to create {fixed['id']}")
            require_name(field, merged[field])
        for field in self.optional_names:
            if merged.get(field) is not None:
                require_name(field, merged[field])
        if not isinstance(sent.get("meta"), dict | None):
            raise Invalid("meta", "must be an object with your own fields, or null for none")
        for field, check in self.checks.items():
            if sent.get(field) is not None:
                check(sent[field])
        self.check_together(merged)
        for field, value in sent.items():
            require_shallow(field, value)
        body = _encoder.encode(merged)
        require_small(len(body), self.name, bytes_max)
        return body


def parse_object(document: bytes) -> dict[str, Any]:
    """Return the fields of a backend or frontend in the body of a request. An empty body is an empty object."""
    return decode_json(_object, document) if document.strip() else {}


def parse_members_min(number: object) -> int:
    """Return the `min_members` of a request; 0 if it is missing. Raises `Invalid`."""
    if number is None:
        return 0
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= MEMBERS_MIN_MAX:
        raise Invalid("min_members", f"must be an integer from 0 to {MEMBERS_MIN_MAX}")
    return number


def name_of(sent: Mapping[str, Any]) -> str:
    """Return the name among the fields of a backend or frontend that a client sent. Raises `Invalid`."""
    name = sent.get("name")
    require_name("name", name)
    return str(name)
