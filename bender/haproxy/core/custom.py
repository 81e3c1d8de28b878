"""The operator's own lines of configuration, from files on HAProxy's machine.

They never come from the registry, because a client that may configure a frontend in the registry must not be able to
make HAProxy run a program.

- `global.cfg` and `defaults.cfg` are appended to the sections of these names;
- `frontend-NAME.cfg` and `backend-NAME.cfg` go into the sections of bender's frontends and backends;
- `sections.cfg` has whole sections.

Each file is rendered between two comments. They identify the file and line of a line that HAProxy refuses.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from attrs import field, frozen

from bender.core.did_you_mean import did_you_mean, nearest_name
from bender.core.invalid import Invalid
from bender.core.model import parse_name

#: The files with fixed names; others are named after a frontend or backend.
GLOBAL, DEFAULTS, SECTIONS = "global.cfg", "defaults.cfg", "sections.cfg"

SUFFIX = ".cfg"

#: The prefix of a file's name, by kind of object.
PREFIXES: Mapping[str, str] = {"frontend": "frontend-", "backend": "backend-"}

#: The form of the names, for messages.
FORM = f"{GLOBAL}, {DEFAULTS}, {SECTIONS}, frontend-NAME{SUFFIX} or backend-NAME{SUFFIX}"

#: The start of a section in HAProxy's configuration, up to version 3.2.
_SECTION = re.compile(
    r"\s*(global|defaults|frontend|backend|listen|peers|resolvers|mailers|userlist|cache|program|http-errors|ring|"
    r"fcgi-app|log-forward|log-profile|crt-store|traces|acme)(\s|$)"
)

#: The names of a frontend's rules in the configuration.
_RULE = re.compile(r"\s*acl\s+(rule[0-9]+)(\s|$)")

#: A misspelled file name: the parts before and after the first character that may stand in place of the hyphen.
_DIVIDED = re.compile(r"([^-_. ]+)[-_. ](.+\.cfg)")

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff]")

_BEGIN, _END = "    # begin of --include", "    # end of --include"
_BLOCK = re.compile(rf"^{_BEGIN} .*?^{_END}[^\n]*\n", re.MULTILINE | re.DOTALL)
_NUMBERED = re.compile(r"\bline ([0-9]+)\b")


def _in_order(files: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    return dict(sorted(files.items()))


@frozen
class Custom:
    """The lines of each file, by its name. No configuration may be rendered while there is a `problem`."""

    files: Mapping[str, tuple[str, ...]] = field(factory=dict, converter=_in_order)
    problem: str | None = None

    def lines(self, file: str) -> tuple[str, ...]:
        """Return the lines of a file between two comments; an empty tuple if the file has no lines."""
        lines = self.files.get(file)
        return () if not lines else (f"{_BEGIN} {file}", *lines, f"{_END} {file}")

    def unused(self, frontends: Iterable[str], backends: Iterable[str]) -> dict[str, str]:
        """Return the files whose frontend or backend does not exist, each with the reason."""
        known = {"frontend": {*frontends}, "backend": {*backends}}
        problems = {}
        for file in self.files:
            kind, name = kind_and_name_of(file)
            if kind in known and name not in known[kind]:
                problems[file] = f"there is no {kind} {name}"
        return problems | self.misnamed()

    def misnamed(self) -> dict[str, str]:
        """Return the files whose names no frontend or backend can have, each with the reason."""
        return {file: why for file in self.files if (why := _why_misnamed(file)) is not None}


def parse_custom(texts: Mapping[str, str]) -> Custom:
    """Return the lines of these files, by name, or the `problem` of the first file that cannot be used."""
    for file, text in sorted(texts.items()):
        problem = next(_problems(file, text), None)
        if problem is not None:
            return Custom(problem=problem)
    return Custom(
        {file: (*map(str.rstrip, text.rstrip().split("\n")),) for file, text in texts.items() if text.strip()}
    )


def kind_and_name_of(file: str) -> tuple[str | None, str]:
    """Return the kind of a file and the name of its frontend or backend.

    The kind is `global`, `defaults`, `sections`, `frontend` or `backend`, and None for other file names.
    """
    if file in (GLOBAL, DEFAULTS, SECTIONS):
        return file.removesuffix(SUFFIX), ""
    for kind, prefix in PREFIXES.items():
        if file.startswith(prefix) and file.endswith(SUFFIX):
            return kind, file[len(prefix) : -len(SUFFIX)]
    return None, ""


def file_name_of(kind: str, name: str) -> str:
    """Return the name of the file for a frontend or backend."""
    return f"{PREFIXES[kind]}{name}{SUFFIX}"


def without_custom(text: str) -> str:
    """Return a configuration without the operator's lines."""
    return _BLOCK.sub("", text)


def with_files_and_lines(message: str, text: str) -> str:
    """Return HAProxy's message about the configuration `text`, with file names and lines for the operator's lines."""
    lines = text.split("\n")

    def name(match: re.Match[str]) -> str:
        number = int(match[1])
        for above in range(min(number, len(lines)) - 1, -1, -1):
            if lines[above].startswith(_END):
                break
            if lines[above].startswith(_BEGIN):
                return f"{lines[above][len(_BEGIN) + 1 :]} line {number - above - 1}"
        return match[0]

    return _NUMBERED.sub(name, message)


def _why_misnamed(file: str) -> str | None:
    kind, name = kind_and_name_of(file)
    if kind is None:
        return f"is not used: the name of a file must be {FORM}{_meant(file)}"
    if kind in PREFIXES:
        try:
            parse_name("NAME", name)
        except Invalid as error:
            return f"is not used: {error}"
    return None


def _meant(file: str) -> str:
    """Return a suggestion of the nearest file name, which keeps the name of a frontend or backend."""
    divided = _DIVIDED.fullmatch(file)
    kind = None if divided is None else nearest_name(divided[1], PREFIXES)
    if divided is None or kind is None:
        return did_you_mean(file, (GLOBAL, DEFAULTS, SECTIONS))
    return f", did you mean {PREFIXES[kind]}{divided[2]}?"


def _problems(file: str, text: str) -> Iterator[str]:
    kind, _ = kind_and_name_of(file)
    begun = False
    for number, line in enumerate(text.split("\n"), 1):
        control = _CONTROL.search(line.removesuffix("\r"))
        if control is not None:
            yield f"{file} line {number}: has a control character ({control[0]!r})"
        section, rule = _SECTION.match(line), _RULE.match(line)
        begun |= section is not None
        if kind == "sections":
            if line.strip() and not line.strip().startswith(("#", ".")) and not begun:
                yield f"{file} line {number}: is in no section: start with one, such as listen or userlist"
        elif section is not None:
            yield f"{file} line {number}: {section[1]} begins a section, which belongs in {SECTIONS}"
        if rule is not None and kind == "frontend":
            yield f"{file} line {number}: {rule[1]} is reserved for the rules of bender: use another name"
