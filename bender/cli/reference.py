"""The manual of `bender`, as Markdown, from what its commands say of themselves: `python -m bender.cli.reference`.

`docs/cli.md` is this, and the man page is made of that. Nothing here is loaded when a command runs.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from inspect import cleandoc

import click

from bender.cli.click_base import BenderCommand, first_sentence
from bender.cli.commands import bender
from bender.cli.session import OPTIONS

COMMON = "Options of every command"

HEAD = """\
<!-- Made by `make reference` from what the commands say of themselves: change it there. -->

# bender, the command line
"""

#: What no single command says of itself.
TAIL = """\
## Output

On a terminal there are tables and colours, elsewhere plain columns without either. What was asked for goes to stdout;
errors, one sentence each, to stderr, and so does on a terminal what there is to say besides: how many there are, and
which node answered. With `--json` it is what the API answers, byte for byte, and nothing where that is nothing.

## Arguments

- An instance is named by its id, `APP/VERSION/HOST/PORT`, such as `web/1.2.0/10.0.0.5/8080`, or by the four parts.
- A `DURATION` is a number of seconds, or numbers with units: `90`, `90s`, `10m`, `1h30m`, `2d`, `250ms`.
- A `KEY=VALUE` of a backend or frontend has JSON as its value, or else text. `health.path=/up` sets a part of what is
  an object and leaves its other parts as they are; `health.path=null` takes a part out.

## Exit status

- 0: it was done.
- 1: it was not, and a sentence on stderr says why; of `bender diff`, nodes disagree or do not answer; of
  `bender explain`, no node knows anything of it; of `bender ls`, the app or the version is unknown.
- 2: the command was not understood.
- 130: Ctrl-C has ended it.

`bender run` ends with the status of its command.

## Environment

- `BENDER_NODES`: the nodes to ask where `--node` does not say.
- `BENDER_TOKEN`: the token to show where `--token-file` does not say.
- `BENDER_CA`: a file with authorities' certificates, where `--ca` does not say.
- `BENDER_AS`: the name that histories show, where `--as` does not say.
- `NO_COLOR`: no colours on a terminal, if this is not empty.

## Files

- `$XDG_CACHE_HOME/bender/nodes.json`, or else `~/.cache/bender/nodes.json`: nodes that took too long to answer, and
  when. For a minute they are asked after all others. It may be removed at any time.
"""


def reference() -> str:
    """All of it."""
    common = next(command for _, command in bender.tree("bender") if len(command.params) > len(OPTIONS))
    names = {option.name for option in common.params[-len(OPTIONS) :]}
    parts = [HEAD, f"## Synopsis\n\n```sh\n{_usage(bender, 'bender')}\n```\n", "## Description\n", _prose(bender.help)]
    parts += [f"- [{path}](#{path.replace(' ', '-')}): {_coded(first)}" for path, first in _firsts()]
    parts += ["", f"## {COMMON}\n", *_options(common, names), ""]
    for path, command in bender.tree("bender"):
        parts += _section(path, command, names)
    return "\n".join([*parts, TAIL])


def _firsts() -> Iterator[tuple[str, str]]:
    for path, command in bender.tree("bender"):
        yield path, first_sentence(command)


def _section(path: str, command: click.Command, common: Container[str | None]) -> Iterator[str]:
    yield f"## {path}\n\n```sh\n{_usage(command, path)}\n```\n\n{_prose(command.help)}"
    arguments = [param for param in command.params if isinstance(param, click.Argument)]
    context = click.Context(command)
    if arguments:
        yield "Arguments:\n"
        yield from (f"- `{each.make_metavar(context)}`: {_coded(each.help)}" for each in arguments)
        yield ""
    own = [*_options(command, [param.name for param in command.params if param.name not in common])]
    shares = any(param.name in common for param in command.params)
    also = f"[options of every command](#{COMMON.lower().replace(' ', '-')})"
    if own:
        yield f"Options{f', besides the {also}' if shares else ''}:\n"
        yield from own
        yield ""
    elif shares:
        yield f"It has the {also} alone.\n"
    for columns in command.columns if isinstance(command, BenderCommand) else ():
        yield f"| {columns.of or 'Column'} | Meaning |\n|---|---|"
        yield from (f"| {name} | {_coded(meaning)} |" for name, meaning in columns.meanings.items())
        yield ""
    if isinstance(command, BenderCommand) and command.examples:
        yield f"Examples:\n\n```sh\n{command.examples}\n```\n"


def _options(command: click.Command, names: Container[str | None]) -> Iterator[str]:
    context = click.Context(command)
    for option in command.params:
        if option.name in names and isinstance(option, click.Option):
            name, text = option.get_help_record(context) or ("", "")
            help_, _, extra = text.partition("  [")
            yield f"- `{name}`: {_coded(help_)}" + (f" [{_coded(extra)}" if extra else "")


def _usage(command: click.Command, path: str) -> str:
    return " ".join([path, *command.collect_usage_pieces(click.Context(command))])


def _prose(text: str | None) -> str:
    return _coded(cleandoc(text or "")) + "\n"


def _coded(text: str | None) -> str:
    """Options, variables and the words that stand for others are code, which nothing is done to."""
    return re.sub(r"(?<![`\w-])(--[a-z][a-z-]+|BENDER_[A-Z]+|[0-9.]+<=x(<=[0-9.]+)?|x>=[0-9]+)", r"`\1`", text or "")


if __name__ == "__main__":
    click.echo(reference(), nl=False)
