"""Extend the commands and groups of click, and print its errors in the form of bender's errors.

Commands are listed in the order in which people need them, and each has examples. An invalid command line is reported
by one sentence on stderr, like every other error.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from inspect import cleandoc
from typing import Any, NamedTuple

import click
from click.core import ParameterSource
from click.exceptions import NoArgsIsHelpError, NoSuchCommand
from click.shell_completion import CompletionItem

from bender.cli.columns import Columns
from bender.cli.output import Output, use_streams_safely, without_full_stop

#: The exit status for a command that Ctrl-C has ended, as in shells.
INTERRUPTED = 130

FAILURE = 1
USAGE_ERROR = 2


class BenderCommand(click.Command):
    """A command whose help ends with the columns of its output and with examples."""

    def __init__(self, *arguments: Any, examples: str = "", columns: Sequence[Columns] = (), **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.examples = cleandoc(examples)
        self.columns = columns

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Refuse repeated files and lists, of which click would silently use the last, and then parse like click."""
        if not ctx.resilient_parsing:
            require_once(ctx, self.make_parser(ctx).parse_args([*args])[2])
        return super().parse_args(ctx, args)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        for columns in self.columns:
            with formatter.section(f"Columns of {columns.of}" if columns.of else "Columns"):
                formatter.write_dl([*columns.meanings.items()])
        if self.examples:
            with formatter.section("Examples"):  # written without wrapping, so that they can be copied
                indent = " " * formatter.current_indent
                formatter.write("".join(f"{indent}{line}\n" for line in self.examples.splitlines()))


def require_once(context: click.Context, given: Sequence[click.Parameter]) -> None:
    """Raise `click.UsageError` for a file or list that is given several times, because only the last would count.

    `given` has the parameters in the order of the command line. Other options may be repeated, so that a script can
    append them to a command. The last one counts.
    """
    for option in context.command.get_params(context):
        is_list = isinstance(option, click.Option) and (option.metavar or "").endswith(",…")
        if option.multiple or not (is_list or isinstance(option.type, click.Path | click.File)):
            continue
        times = given.count(option)
        if times > 1:
            lists = ", with commas between its values" if is_list else ""
            often = "twice" if times == 2 else f"{times} times"
            raise click.UsageError(f"{max(option.opts, key=len)} is given {often}: give it once{lists}", context)


#: Options of every command that a group of commands does not have.
COMMAND_OPTIONS = ("--node", "--json", "--token-file", "--ca", "--insecure", "--as")


class Group(click.Group):
    """A group that lists its commands in the order in which they were added, with their whole first sentences."""

    command_class = BenderCommand

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        given = [*args]
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if error.option_name not in COMMAND_OPTIONS:
                raise
            names = self.list_commands(ctx)
            at = next((at for at, word in enumerate(given) if word in names), len(given))
            words = [*given[at : at + 1], *given[:at], *given[at + 1 :]]
            such = f": {ctx.command_path} {shlex.join(words)}" if at < len(given) else ""
            raise click.UsageError(f"give {error.option_name} after the command{such}") from error

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return [*self.commands]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the whole first sentence of each command, wrapped. Click would shorten it."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, first_sentence(command)) for name, command in self.commands.items()])

    def tree(self, path: str) -> Iterator[tuple[str, click.Command]]:
        """Yield all commands that are not groups, each after its full path."""
        context = click.Context(self)
        for name in self.list_commands(context):
            command = self.get_command(context, name)
            if isinstance(command, Group):
                yield from command.tree(f"{path} {name}")
            elif command is not None:
                yield f"{path} {name}", command


Group.group_class = Group


class UnwritableOutput(OSError):
    """The output cannot be written, but the command has changed the registry."""


class LazyCommand(NamedTuple):
    """A command that is imported when it is used: its `location`, as `module:name`, and its help's first sentence."""

    location: str
    sentence: str


class LazyGroup(Group):
    """A group that imports the module of a command only when the command is used."""

    def __init__(self, *arguments: Any, lazy: Mapping[str, LazyCommand], **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return [*self._lazy]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        lazy = self._lazy.get(cmd_name)
        if lazy is None:
            return super().get_command(ctx, cmd_name)
        module, _, name = lazy.location.partition(":")
        command = getattr(import_module(module), name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if not (name in self._lazy or name.startswith("-") or ctx.resilient_parsing):
            raise NoSuchCommand(name, possibilities=self._lazy, ctx=ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, lazy.sentence) for name, lazy in self._lazy.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        names = [name for name in self._lazy if name.startswith(incomplete)]
        options = click.Command.shell_complete(self, ctx, incomplete)
        return [CompletionItem(name, help=self._lazy[name].sentence) for name in names] + options


def first_sentence(command: click.Command) -> str:
    """Return the first sentence of a command's help."""
    paragraph = cleandoc(command.help or "").partition("\n\n")[0]
    return " ".join(paragraph.split()).partition(". ")[0].rstrip(".") + "."


def as_utf8(arguments: Iterable[str]) -> list[str]:
    """Decode as UTF-8 the arguments that the locale of this process could not decode, as in the locale C.

    Arguments after `--` are left unchanged, because they are passed on to a command.
    """
    decoded: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if argument == "--":
            return [*decoded, argument, *rest]
        undecoded = any("\udc80" <= character <= "\udcff" for character in argument)
        decoded.append(os.fsencode(argument).decode("utf-8", "surrogateescape") if undecoded else argument)
    return decoded


def run_command(command: click.Command, arguments: Sequence[str]) -> int:
    """Run a command line, and return its exit status. Errors are printed on stderr."""
    if sys.stdout is None:  # it was closed
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - open until the process ends
    use_streams_safely()
    try:
        status = command.main([*arguments], prog_name="bender", standalone_mode=False)
        sys.stdout.flush()
    except NoArgsIsHelpError as error:
        error.show()
        return USAGE_ERROR
    except click.ClickException as error:
        Output(as_json=False).error(_error_sentence(error))
        return error.exit_code
    except click.Abort:
        return INTERRUPTED
    except OSError as error:  # errors of the network and of input files are handled before
        if not isinstance(error, BrokenPipeError):  # the reader of the output may stop at any time, like `head`
            what = "the registry was changed, but the output" if isinstance(error, UnwritableOutput) else "the output"
            Output(as_json=False).error(f"{what} cannot be written ({error.strerror})")
        return FAILURE
    finally:
        _discard_unwritten()
    return int(status or 0)


def _discard_unwritten() -> None:
    """Discard output that cannot be written. Otherwise Python would try again at exit, and exit with status 120."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


def _error_sentence(error: click.ClickException) -> str:
    """Return an error of click as one sentence. Click would print several lines."""
    text = without_full_stop(" ".join(error.format_message().split()))
    text = _name_one_source(error, text)
    text = re.sub(r"\. ([A-Z])", lambda begins: f"; {begins[1].lower()}", text)
    context = error.ctx if isinstance(error, click.UsageError) else None
    see = f" (see {context.command_path} --help)" if context else ""
    return f"{text[:1].lower()}{text[1:]}{see}"


def _name_one_source(error: click.ClickException, text: str) -> str:
    """Return the text of an error with the actual source of a wrong value: the option or the variable, not both."""
    option, context = getattr(error, "param", None), getattr(error, "ctx", None)
    if context is None or not isinstance(option, click.Option) or not isinstance(option.envvar, str):
        return text
    is_variable = context.get_parameter_source(option.name) is ParameterSource.ENVIRONMENT
    return re.sub(r"'([^']*)' \(env var: '([^']*)'\)", lambda both: f"'{both[2 if is_variable else 1]}'", text)
