"""Finds names of apps and backends without regard to the case of ASCII letters, as DNS does.

Only names with capital letters, dots or more than `LABEL_BYTES_MAX` bytes are kept here; all others are looked up in
the registry itself. A client can ask for any name, so a lookup takes constant time, except the first one after a name
has gone that others differ from in case alone.
"""

from __future__ import annotations

from collections.abc import Callable

#: Bytes of a name that fits into a label of DNS, behind an underscore. A longer one has to have dots to be asked for.
LABEL_BYTES_MAX = 62

#: Parts of a name after a dot that are known to exist for themselves. Resolvers that ask for one label more each time
#: ask for no more than ten shortened names (RFC 9156, 2.3).
ENDINGS_MAX = 10


class NameLookup:
    """The names that exist, by their lower-case form. `is_known` tells whether a name exists, exactly as it is."""

    def __init__(self, is_known: Callable[[str], bool]) -> None:
        self._is_known = is_known
        #: Differs after each change of the names that exist.
        self.version = 0
        #: Names with more than `LABEL_BYTES_MAX` bytes.
        self.long_names: dict[str, None] = {}
        # Names that are not in lower case, by their lower-case form.
        self._others: dict[str, dict[str, None]] = {}
        # The first of these, where that is known.
        self._first: dict[str, str] = {}
        # What follows a dot in a name, in lower case, with the number of names.
        self._endings: dict[str, int] = {}

    def add(self, name: str) -> None:
        """Note a name that exists from now on."""
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
        """Note that a name which was added exists no longer."""
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

        Of several names that differ in case alone, the one in lower case is found, else the first in order.
        """
        if self._is_known(folded):
            return folded
        found = self._first.get(folded)
        if found is None and folded in self._others:
            found = self._first[folded] = min(self._others[folded])
        return found

    def is_ending(self, folded: str) -> bool:
        """Return True if a name ends with a dot and this text, in any case."""
        return folded in self._endings


def _endings(folded: str) -> list[str]:
    """Return what follows each of the last dots in a name."""
    parts = folded.rsplit(".", ENDINGS_MAX)
    return [".".join(parts[i:]) for i in range(1, len(parts))]
