"""Lookup of names of apps and backends without regard to the case of ASCII letters, as in DNS.

This module keeps only names with capital letters, dots or more than `LABEL_BYTES_MAX` bytes; all others are looked up
in the registry itself. A client can request any name, so a lookup takes constant time. The only exception is the
first lookup after the removal of a name, if other names differ from it only in case.
"""

from __future__ import annotations

from collections.abc import Callable

#: The largest number of bytes of a name that fits into a label of DNS, behind an underscore. A request for a longer
#: name must divide it at its dots.
LABEL_BYTES_MAX = 62

#: The largest number of endings of one name that are known to exist. A resolver that requests one label more each
#: time requests at most ten shortened names (RFC 9156, 2.3).
ENDINGS_MAX = 10


class NameLookup:
    """The names that exist, by their lower-case form.

    `is_known` returns True if a name exists with exactly these letters.
    """

    def __init__(self, is_known: Callable[[str], bool]) -> None:
        self._is_known = is_known
        #: A number that changes with each change of the names that exist.
        self.version = 0
        #: Names with more than `LABEL_BYTES_MAX` bytes.
        self.long_names: dict[str, None] = {}
        # Names that are not in lower case, by their lower-case form.
        self._others: dict[str, dict[str, None]] = {}
        # The first of these names in order, by lower-case form, if it has been determined.
        self._first: dict[str, str] = {}
        # The parts of names that follow a dot, in lower case, with the number of names that have each.
        self._endings: dict[str, int] = {}

    def add(self, name: str) -> None:
        """Add a name that exists from now on."""
        self.version += 1
        encoded = name.encode()
        if len(encoded) > LABEL_BYTES_MAX:
            self.long_names[name] = None
        folded = encoded.lower().decode()
        if folded != name:
            self._others.setdefault(folded, {})[name] = None
            if name < self._first.get(folded, ""):
                self._first[folded] = name
        if "." in folded:
            for ending in _endings(folded):
                self._endings[ending] = self._endings.get(ending, 0) + 1

    def discard(self, name: str) -> None:
        """Remove a name that was added and no longer exists."""
        self.version += 1
        self.long_names.pop(name, None)
        folded = name.encode().lower().decode()
        if folded != name:
            del self._others[folded][name]
            if self._first.get(folded) == name:
                del self._first[folded]
            if not self._others[folded]:
                del self._others[folded]
        if "." in folded:
            for ending in _endings(folded):
                self._endings[ending] -= 1
                if not self._endings[ending]:
                    del self._endings[ending]

    def find(self, folded: str) -> str | None:
        """Return the name with this lower-case form; None if there is none.

        If several names differ only in case, the name in lower case is returned if it exists, else the first in
        order.
        """
        if self._is_known(folded):
            return folded
        found = self._first.get(folded)
        if found is None and folded in self._others:
            found = self._first[folded] = min(self._others[folded])
        return found

    def is_ending(self, folded: str) -> bool:
        """Return True if a name ends with a dot and this text, without regard to case."""
        return folded in self._endings


def _endings(folded: str) -> list[str]:
    """Return the parts of a name that follow its last dots, one part for each dot."""
    parts = folded.rsplit(".", ENDINGS_MAX)
    return [".".join(parts[i:]) for i in range(1, len(parts))]
