"""The directive `operations`, which writes a part of an OpenAPI document into a page: the operations of one tag.

Without a `tag` it writes the description of the whole. What it is made of shows each operation under its path, but of
a body it tells less than the document does: not which values are possible, nor what may be null, nor all that is
always there. That is told here. Where a value may have one of several forms, the first one is shown.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from docutils.parsers.rst import directives
from sphinxcontrib.openapi.directive import create_directive_from_renderer
from sphinxcontrib.openapi.renderers import HttpdomainRenderer

#: What the fields of a body are called in reStructuredText, by what it is of, and whether it is an array.
FIELDS = {
    ("req", False): "reqjson",
    ("req", True): "reqjsonarr",
    ("res", False): "resjson",
    ("res", True): "resjsonarr",
}


class Operations(HttpdomainRenderer):
    """What writes them, as reStructuredText."""

    option_spec = {**HttpdomainRenderer.option_spec, "tag": directives.unchanged_required}

    def render_restructuredtext_markup(self, spec: dict[str, Any]) -> Iterator[str]:
        tag = self._options.get("tag")
        if tag is None:
            yield from self._convert_markup(spec["info"]["description"]).splitlines()
            return
        part = copy.deepcopy(spec)  # it is written into, and needed as it was for the next tag
        paths = part["paths"]
        for path, item in paths.items():
            paths[path] = {key: each for key, each in item.items() if key == "parameters" or tag in each["tags"]}
        yield from super().render_restructuredtext_markup(part)

    def render_responses(self, responses: dict[str, Any]) -> Iterator[str]:
        """The headers of all of them stand in one list, each once."""
        named: set[str] = set()
        once = {}
        for status, response in responses.items():
            headers = response.get("headers", {})
            once[status] = {**response, "headers": {name: headers[name] for name in headers if name not in named}}
            named.update(headers)
        yield from super().render_responses(once)

    def render_json_schema_description(self, schema: dict[str, Any], req_or_res: str) -> Iterator[str]:
        schema = _plain(schema)
        is_array = "items" in schema
        if is_array:
            schema = _plain(schema["items"])
        name = FIELDS[req_or_res, is_array]
        type_name = f"{name}type" if is_array else f"{name}obj"
        for place, field, required in _fields(schema, ""):
            yield f":{name} {place}:"
            for line in self._convert_markup(field.get("description", "")).strip().splitlines():
                yield f"   {line}"
            yield f":{type_name} {place}: {_type(field)}{', required' if required else ''}"


def _fields(schema: Mapping[str, Any], within: str) -> Iterator[tuple[str, dict[str, Any], bool]]:
    """Where each field of an object is, how it is described, and whether it is always there."""
    for name, described in schema.get("properties", {}).items():
        field = _plain(described)
        place = f"{within}.{name}" if within else name
        yield place, field, name in schema.get("required", ())
        if "items" in field:
            place, field = f"{place}[]", _plain(field["items"])
            if "properties" in field and "description" in field:
                yield place, field, False
        yield from _fields(field, place)


def _plain(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The same without the schemas that it is put together from; `or_null` where it may be null."""
    forms = [*schema.get("oneOf", ()), *schema.get("anyOf", ())]
    shapes = [form for form in forms if form.keys() != {"required"} and form.get("type") != "null"]
    parts = [*map(_plain, [*schema.get("allOf", ()), *shapes[:1]]), schema]
    plain = {key: value for part in parts for key, value in part.items()}
    plain["properties"] = {name: field for part in parts for name, field in part.get("properties", {}).items()}
    plain["required"] = [*chain.from_iterable(part.get("required", ()) for part in parts)]
    plain["or_null"] = {"type": "null"} in forms
    return {key: value for key, value in plain.items() if value not in ({}, [])}


def _type(schema: Mapping[str, Any]) -> str:
    """What values are possible, in words."""
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return "one of " + ", ".join(map(json.dumps, schema["enum"]))
    types = schema.get("type", "any")
    words = types if isinstance(types, str) else " or ".join(types)
    if "items" in schema:
        words += f" of {_type(_plain(schema['items']))}"
    if "minimum" in schema and "maximum" in schema:
        words += f" from {schema['minimum']} to {schema['maximum']}"
    return f"{words} or null" if schema.get("or_null") else words


def setup(app: Any) -> dict[str, bool]:
    app.setup_extension("sphinxcontrib.openapi")
    app.add_directive("operations", create_directive_from_renderer(Operations))
    return {"parallel_read_safe": True}
