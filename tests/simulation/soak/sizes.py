"""The number of elements of every structure that can be reached from some objects, by its path of attributes.

The elements of a container have the path of the container with `[]`, so one number has what all of them hold
together. A structure with several paths counts once, at the shortest path.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from types import FunctionType, MethodType, ModuleType
from typing import Any

#: Types without elements, or whose elements are not read.
_LEAVES = (str, bytes, int, float, complex, type(None), type, range, FunctionType, MethodType, ModuleType)

#: The packages whose objects are read. Of all other objects, only containers are read.
_PACKAGES = ("bender.", "twisted.internet.task")


def sizes(**roots: object) -> Counter[str]:
    """Return the number of elements at each path, which begins with the name of a root."""
    found: Counter[str] = Counter()
    seen = {id(root) for root in roots.values()}
    queue = deque[tuple[str, Any]](roots.items())
    while queue:
        path, each = queue.popleft()
        if isinstance(each, bytearray | Mapping | AbstractSet | list | deque | tuple):
            found[path] += len(each)
        for name, part in _parts(each):
            if not isinstance(part, _LEAVES) and id(part) not in seen:
                seen.add(id(part))
                queue.append((f"{path}{name}", part))
    return found


def _parts(each: object) -> Iterator[tuple[str, object]]:
    """Yield the elements or attributes of an object, each with the part that it adds to the path."""
    if isinstance(each, Mapping):
        for key, value in each.items():
            yield "{}", key
            yield "[]", value
    elif isinstance(each, AbstractSet | list | deque | tuple):
        for element in each:
            yield "[]", element
    elif type(each).__module__.startswith(_PACKAGES):
        yield from _attributes(each)


def _attributes(each: object) -> Iterator[tuple[str, object]]:
    for name, value in getattr(each, "__dict__", {}).items():
        yield f".{name}", value
    for name in getattr(each, "__struct_fields__", ()):  # an object of msgspec
        yield f".{name}", getattr(each, name)
    for kind in type(each).__mro__:
        slots = getattr(kind, "__slots__", ())
        for slot in (slots,) if isinstance(slots, str) else slots:
            if slot not in ("__dict__", "__weakref__"):
                name = f"_{kind.__name__.lstrip('_')}{slot}" if slot.startswith("__") else slot
                yield f".{name}", getattr(each, name, None)
