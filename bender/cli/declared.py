"""Commands about declared configuration: `export`, `apply` and `check`."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import IO, Any

import click
import msgspec

from bender.cli.change_report import settings_of, unapplied_sentences
from bender.cli.click_base import FAILURE, BenderCommand
from bender.cli.output import Output
from bender.cli.params import Duration
from bender.cli.session import Session, request_command, wall_ms
from bender.client import BenderError
from bender.client.objects import current_object
from bender.declared.apply import Applier, Interrupted, find_too_large, rehearse
from bender.declared.config_diff import ChangeSet, ConfigChange, Contents, change_set, export_document
from bender.declared.document import Document
from bender.declared.parser import ParsedFile, Problem, parse_file
from bender.declared.preflight import PreflightProblem
from bender.declared.writer import to_toml
from bender.net.escaping import escaped

#: Changed objects for which the command waits until load balancers have them; each takes several requests.
OBJECTS_FOLLOWED_MAX = 20

#: The error for an empty file. `bender export >FILE` leaves one if no node answers.
DECLARES_NOTHING = "declares nothing: no backend, no frontend and no state"

_SIGNS = {"create": "+", "change": "~", "remove": "-"}
_DONE = {"create": "created", "change": "changed", "remove": "removed"}


def _applier(session: Session) -> Applier:
    return Applier(session.client, wall_ms, time.monotonic, session.pause)


@click.command(
    cls=BenderCommand,
    examples="""
    bender export >shop.toml
    bender export >new.toml && mv new.toml shop.toml
    """,
)
@request_command
async def export(session: Session) -> int:
    """Print backends, frontends and the states that operators set (drain, maint) as TOML, for `bender apply`.

    The same registry gives the same bytes, so the file can be kept in git. Each state is written with the time at which
    it ends. With --json the document is printed as JSON. The exit status is 1 if there is nothing to print. The
    registry is empty after all nodes were stopped at once: do not overwrite an older export then.
    """
    document, notes = export_document(await _applier(session).read_contents())
    if document.is_empty:
        session.screen.error("the registry has no backends, frontends or states: nothing to export")
        return FAILURE
    if session.screen.as_json:
        session.screen.json(msgspec.json.encode(_as_json(document)))
    elif session.screen.is_terminal:
        for line in to_toml(document).splitlines():
            session.screen.say(line)
    else:  # unescaped: a file needs no protection from control characters, and TOML is UTF-8 in every locale
        click.echo(to_toml(document).encode(), nl=False)
    for note in notes:
        session.screen.warn(note)
    return 0


def _as_json(document: Document) -> dict[str, Any]:
    states = {
        id_.removeprefix("registration/"): {"state": each.state, "until": each.until_ms}
        for id_, each in document.states.items()
    }
    return {"backends": document.backends, "frontends": document.frontends, "states": states}


@click.command(
    cls=BenderCommand,
    examples="""
    bender check shop.toml
    """,
)
@click.argument("file", type=click.File("rb"), metavar="FILE", help="The file; - is the standard input.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def check(file: IO[bytes], *, as_json: bool) -> int:
    """Check a FILE for `bender apply`, without asking a node.

    It prints all problems, each with its line: wrong syntax, unknown fields, wrong values, and backends that a frontend
    names and that are not in the file. The exit status is 1 if there is a problem.
    """
    screen = Output(as_json=as_json)
    found = _read(file)
    problems = [*found.problems, *(problem for _, problem in found.unresolved)]
    if found.document.is_empty and not problems:
        problems = [Problem(None, DECLARES_NOTHING)]
    if as_json:
        listed = [{"line": each.line, "column": each.column, "message": each.text} for each in problems]
        screen.json(msgspec.json.encode({"file": file.name, "valid": not problems, "problems": listed}))
        return FAILURE if problems else 0
    if problems:
        return _print_problems(screen, file.name, problems, "")
    screen.say(f"{file.name} is valid: {_counted(found.document)}.")
    return 0


@click.command(
    "apply",
    cls=BenderCommand,
    examples="""
    bender apply -f shop.toml --dry-run
    bender apply -f shop.toml
    bender apply -f shop.toml --prune
    """,
)
@click.option(
    "-f", "--file", required=True, type=click.File("rb"), metavar="FILE", help="The file; - is the standard input."
)
@click.option("--dry-run", is_flag=True, help="Show what would be changed, and change nothing.")
@click.option("--prune", is_flag=True, help="Also remove the objects that are not in the file.")
@click.option("--force", is_flag=True, help="Also make changes that take traffic away from a backend that serves.")
@click.option(
    "--wait",
    type=Duration("0s"),
    default="10s",
    show_default=True,
    metavar="DURATION",
    help="How long to wait for nodes that have just started.",
)
@request_command
async def apply_file(session: Session, file: IO[bytes], *, dry_run: bool, prune: bool, force: bool, wait: float) -> int:
    """Change backends, frontends and the states that operators set, to match a FILE.

    The command shows the differences, warns about requests that would be answered 503, and checks all changes before it
    makes the first. An object gets exactly the fields in the file: its other fields are removed. Objects that are not
    in the file stay, unless --prune is given. A change that another client makes in the meantime is not overwritten.
    Applying a file twice changes nothing the second time.
    """
    found = _read(file)
    if found.problems:
        return _print_problems(session.screen, file.name, found.problems)
    if found.document.is_empty and not (prune and force):
        does = "add --force to remove everything" if prune else "nothing was changed"
        raise BenderError(f"{file.name} {DECLARES_NOTHING}; {does}")
    applier = _applier(session)
    await applier.wait_until_ready(wait, lambda why: session.screen.warn(f"{why}; waiting for up to {wait:g} s"))
    contents = await applier.read_contents()
    for note in contents.notes:
        session.screen.warn(note)
    problems = _problems(found, contents, prune=prune)
    if problems and not force:
        return _print_problems(session.screen, file.name, problems)
    changes = change_set(found.document, contents, prune=prune)
    _refuse_to_remove_everything(changes, found.document, force=force)
    _print_changes(session.screen, changes)
    unfit = await find_too_large(session.client, changes.changes)
    refused, foreseen = await rehearse(session.client, changes.changes, contents)
    if unfit:
        return _print_refused(session.screen, changes, unfit, "nothing was changed", dry_run=dry_run)
    if refused and not force:
        anyway = "nothing was changed; add --force to do it anyway"
        return _print_refused(session.screen, changes, refused, anyway, dry_run=dry_run)
    if not session.screen.as_json:
        for warning in foreseen:  # before anything is changed
            session.screen.warn(warning)
    if dry_run or not changes.changes:
        _conclude(session.screen, changes, foreseen, printed=foreseen, dry_run=dry_run)
        return 0
    tagged = await applier.with_tags(changes)
    try:
        warnings = [*dict.fromkeys([*foreseen, *await applier.make_changes(tagged.changes, force=force)])]
    except Interrupted as error:
        return _print_interrupted(session.screen, changes, error)
    warnings += await _lacking(session, changes.changes)
    _conclude(session.screen, changes, warnings, printed=foreseen, dry_run=False)
    return 0


async def _lacking(session: Session, changes: Sequence[ConfigChange]) -> list[str]:
    """Return a sentence for each load balancer that has not applied one of the last changed objects."""
    objects = [change for change in changes if change.kind != "state"][-OBJECTS_FOLLOWED_MAX:]

    async def lacking(change: ConfigChange) -> list[str]:
        try:
            found = await current_object(session.client, change.id)
        except BenderError:  # the change was made nevertheless
            return []
        return await unapplied_sentences(session, change.id, settings_of(found))

    return [*dict.fromkeys(chain(*await session.gather_results(map(lacking, objects))))]


def _read(file: IO[bytes]) -> ParsedFile:
    try:
        return parse_file(file.read().decode("utf-8-sig"), wall_ms())
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        return ParsedFile(Document(), (Problem(line, "the file is not UTF-8, which TOML must be"),))


def _print_problems(
    screen: Output, file: str, problems: Sequence[Problem], then: str = ", and nothing was changed"
) -> int:
    """Print the problems of a file, one on a line, in the form of compilers, which editors understand."""
    screen.end_waiting()
    for problem in problems:
        click.echo(escaped(problem.with_location(file)), err=True)
    screen.error(f"{file} has {_number(len(problems), 'problem')}{then}")
    return FAILURE


def _problems(found: ParsedFile, contents: Contents, *, prune: bool) -> list[Problem]:
    """Return the problems with backends that a file names and that will not exist. --prune removes undeclared ones."""
    known = set() if prune else {*contents.backends}
    return [problem for backend, problem in found.unresolved if backend not in known]


def _refuse_to_remove_everything(changes: ChangeSet, document: Document, *, force: bool) -> None:
    """Raise an error unless --force is given, because an empty file with --prune is probably a mistake."""
    removed = [change for change in changes.changes if change.action == "remove" and change.kind != "state"]
    if removed and not force and not (document.backends or document.frontends):
        what = _number(len(removed), "object")
        raise BenderError(
            f"the file declares no backend and no frontend, and --prune would remove {what}: add --force to do this"
        )


# Output about changes.


def _print_changes(screen: Output, changes: ChangeSet) -> None:
    if screen.as_json:
        return
    for change in changes.changes:
        screen.line(screen.coloured(_SIGNS[change.action]), change.id)
        for each in change.describe():
            screen.say(f"    {each}")


def _conclude(
    screen: Output, changes: ChangeSet, warnings: Sequence[str], *, printed: Sequence[str], dry_run: bool
) -> None:
    """Print the outcome. With --json, print all `warnings`; otherwise only those that are not in `printed`."""
    if screen.as_json:
        _print_json(screen, changes, () if dry_run else changes.changes, dry_run=dry_run, warnings=warnings)
        return
    for id_ in changes.expired:
        screen.warn(f"the state of {id_} has ended already and is left out")
    if changes.undeclared:
        screen.say(f"Not in the file and not changed: {', '.join(changes.undeclared)}. --prune removes them.")
    if not changes.changes:
        as_declared = f": {_number(changes.unchanged, 'object')} as declared" if changes.unchanged else ""
        screen.say(f"Nothing to change{as_declared}.")
    elif dry_run:
        screen.say(f"Nothing was changed. Without --dry-run, {_summary(changes.changes, 'would be ')}.")
    else:
        screen.say(f"Done: {_summary(changes.changes)}.")
    for warning in warnings:
        if warning not in printed:
            screen.warn(warning)


def _summary(changes: Iterable[ConfigChange], would: str = "") -> str:
    counts: dict[str, int] = {}
    for change in changes:
        counts[change.action] = counts.get(change.action, 0) + 1
    return ", ".join(f"{counts[action]} {would}{word}" for action, word in _DONE.items() if action in counts)


def _print_refused(
    screen: Output, changes: ChangeSet, refused: Sequence[PreflightProblem], then: str, *, dry_run: bool
) -> int:
    """Print the changes that the registry would refuse. None of the changes is made."""
    why = [
        each.reason if each.reason.startswith(each.change.id) else f"{each.change.id}: {each.reason}"
        for each in refused
    ]
    if screen.as_json:
        _print_json(screen, changes, (), dry_run=dry_run, error="; ".join(why))
    for each in why:
        screen.error(each)
    screen.error(then)
    return FAILURE


def _print_interrupted(screen: Output, changes: ChangeSet, error: Interrupted) -> int:
    if screen.as_json:
        _print_json(screen, changes, error.made, dry_run=False, error=str(error))
    screen.error(str(error))
    done, left = (", ".join(change.id for change in each) for each in (error.made, error.remaining))
    screen.warn(f"applied: {done or 'nothing'}; not applied: {left}. Apply the file again to continue")
    return FAILURE


def _print_json(
    screen: Output,
    changes: ChangeSet,
    done: Sequence[ConfigChange],
    *,
    dry_run: bool,
    warnings: Sequence[str] = (),
    error: str | None = None,
) -> None:
    listed = [
        {"id": change.id, "action": change.action, "before": change.before, "after": change.after}
        for change in changes.changes
    ]
    document: Mapping[str, Any] = {
        "dry_run": dry_run,
        "changes": listed,
        "done": [change.id for change in done],
        "unchanged": changes.unchanged,
        "left": changes.undeclared,
        "over": changes.expired,
        "warnings": warnings,
        "error": error,
    }
    screen.json(msgspec.json.encode(document))


def _counted(document: Document) -> str:
    return ", ".join(
        _number(len(each), name)
        for each, name in ((document.backends, "backend"), (document.frontends, "frontend"), (document.states, "state"))
    )


def _number(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
