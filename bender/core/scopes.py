"""Scopes: what the holder of a token may do.

`read` is for lists, objects and events, `register:GLOB` for registering, renewing and deregistering instances of the
apps that match, `configure` for backends, frontends and operators' states of instances, and `admin` for everything.
No scope includes another one, except for `admin`.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from attrs import frozen

from bender.core.did_you_mean import did_you_mean

#: The scopes that are a word without a pattern.
PLAIN_SCOPES = ("read", "configure", "admin")

#: The beginning of a scope for registrations; a pattern for names of apps follows.
REGISTER = "register:"

#: Limits of a pattern, because a pattern with many stars would take long to match.
GLOB_CHARACTERS_MAX = 255
GLOB_STARS_MAX = 8


@frozen
class Scopes:
    """The scopes of a token, as they are written in a file. `parse_scopes` checks them."""

    written: tuple[str, ...]

    @property
    def may_read(self) -> bool:
        return "read" in self.written or self.is_admin

    @property
    def may_configure(self) -> bool:
        return "configure" in self.written or self.is_admin

    @property
    def is_admin(self) -> bool:
        return "admin" in self.written

    def may_register(self, app: str) -> bool:
        """Return True if instances of an app may be registered, renewed and deregistered."""
        return self.is_admin or any(_matches(glob, app) for glob in self.globs)

    @property
    def may_register_some(self) -> bool:
        """Return True if there is a scope for registrations, whatever apps it names."""
        return self.is_admin or bool(self.globs)

    @property
    def may_register_all(self) -> bool:
        """Return True if instances of all apps may be registered, renewed and deregistered."""
        return self.is_admin or "*" in self.globs

    @property
    def globs(self) -> list[str]:
        """Return the patterns of the scopes for registrations. `*` matches any text, `?` one character."""
        return [scope.removeprefix(REGISTER) for scope in self.written if scope.startswith(REGISTER)]

    def __str__(self) -> str:
        return ", ".join(self.written)


#: The scopes of a client that may do everything, such as each client of a node without tokens.
ALL_SCOPES = Scopes(("admin",))


def parse_scopes(texts: Sequence[object]) -> Scopes:
    """Return the scopes in some texts. Raises `ValueError`, with a clause about the first text that is not a scope."""
    for text in texts:
        problem = _problem(text)
        if problem is not None:
            raise ValueError(problem)
    return Scopes(tuple(dict.fromkeys(map(str, texts))))


def _matches(glob: str, app: str) -> bool:
    """Return True if a pattern matches a name. Brackets match themselves, unlike in `fnmatch`."""
    return fnmatchcase(app, glob.replace("[", "[[]"))


def _problem(text: object) -> str | None:
    """Return why a text is not a scope; None if it is one."""
    kinds = f"{', '.join(PLAIN_SCOPES)} or {REGISTER}APP, where APP may have * and ?"
    if not isinstance(text, str):
        return f"{text!r} is not a scope: a scope is {kinds}"
    if text in PLAIN_SCOPES:
        return None
    if not text.startswith(REGISTER):
        hint = did_you_mean(text.partition(":")[0], [*PLAIN_SCOPES, "register"])
        return f"{text!r} is not a scope{hint or f': a scope is {kinds}'}"
    glob = text.removeprefix(REGISTER)
    if not 1 <= len(glob) <= GLOB_CHARACTERS_MAX or not glob.isprintable() or "/" in glob:
        return (
            f"{text!r}: the name of an app, or a pattern, must follow {REGISTER!r}: 1 to {GLOB_CHARACTERS_MAX} "
            "printable characters without /"
        )
    if glob.count("*") > GLOB_STARS_MAX:
        return f"{text!r} has more than {GLOB_STARS_MAX} stars"
    return None
