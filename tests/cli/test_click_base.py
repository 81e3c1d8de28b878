"""The help of commands, and the errors for invalid command lines."""

from __future__ import annotations

import ast
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

import click
from click.testing import CliRunner
from twisted.trial.unittest import SynchronousTestCase

from bender.cli import bender, click_base
from bender.cli.click_base import COMMAND_OPTIONS, BenderCommand, Group, first_sentence, run_command
from bender.cli.commands import COMMANDS
from bender.cli.session import OPTIONS

WEB = "web/1.2.0/10.0.0.5/8080"


class Help(SynchronousTestCase):
    def shown(self, *arguments: str) -> str:
        result = CliRunner().invoke(bender, [*arguments, "--help"], prog_name="bender")
        self.assertEqual(result.exit_code, 0)
        return result.output

    def test_commands_come_in_the_order_of_what_people_need(self) -> None:
        """The help lists commands in the order of their use, not of the alphabet."""
        names = [*COMMANDS]
        self.assertEqual(names[:3], ["run", "ls", "watch"])
        shown = self.shown()
        self.assertEqual(sorted(names, key=lambda name: shown.index(f"\n  {name} ")), names)

    def test_the_table_of_commands_says_what_they_say(self) -> None:
        """The sentences in the table of commands equal those of the commands, which help does not import."""
        context = click.Context(bender)
        for name, lazy in COMMANDS.items():
            command = bender.get_command(context, name)
            assert command is not None
            self.assertEqual((command.name, first_sentence(command)), (name, lazy.sentence))

    def test_nothing_is_cut_off(self) -> None:
        """Long sentences continue in the next line."""
        for arguments in ((), ("backend",), ("frontend",)):
            self.assertNotIn("...\n", self.shown(*arguments).partition("\n")[2])

    def test_examples_stand_as_they_are(self) -> None:
        """Each example is one unchanged line, which can be copied."""
        for path, command in bender.tree("bender"):
            assert isinstance(command, BenderCommand)
            shown = self.shown(*path.split()[1:])
            for line in command.examples.splitlines():
                self.assertIn(f"\n  {line}\n", shown)


class Places(SynchronousTestCase):
    def error(self, *arguments: str) -> str:
        with redirect_stderr(StringIO()) as shown:
            self.assertEqual(run_command(bender, arguments), 2)
        return shown.getvalue()

    def test_options_of_commands(self) -> None:
        """The error for an option before its command shows the valid command line."""
        for arguments, what in (
            (("--json", "ls"), "give --json after the command: bender ls --json"),
            (("--node", "10.0.0.1", "ls", "web"), "give --node after the command: bender ls --node 10.0.0.1 web"),
            (("--node=a b", "ls"), "give --node after the command: bender ls '--node=a b'"),
            (("backend", "--json", "ls"), "give --json after the command: bender backend ls --json"),
            (("--json",), "give --json after the command"),
        ):
            self.assertEqual(self.error(*arguments), f"bender: {what}.\n")
        self.assertIn("no such option", self.error("--jsn", "ls").lower())

    def test_which_they_are(self) -> None:
        """`COMMAND_OPTIONS` has all options that every command has."""
        names = {name for option in OPTIONS for name in click.command()(option(lambda: None)).params[0].opts}
        self.assertEqual(names, {*COMMAND_OPTIONS})


class Columns(SynchronousTestCase):
    def test_each_is_explained(self) -> None:
        """The columns of every printed table come from a list that the help of its command also explains."""
        tables = 0
        for path in sorted(Path(click_base.__file__).parent.glob("*.py")):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "table":
                    tables += 1
                    texts = [each.value for each in ast.walk(node.args[0]) if isinstance(each, ast.Constant)]
                    self.assertEqual([text for text in texts if isinstance(text, str)], [], path)
        commands = [command for _, command in bender.tree("bender") if isinstance(command, BenderCommand)]
        explained = [columns for command in commands for columns in command.columns]
        self.assertGreaterEqual(len({id(columns) for columns in explained}), tables)

    def test_they_stand_in_the_help(self) -> None:
        """The help has each column with its meaning."""
        result = CliRunner().invoke(bender, ["backend", "ls", "--help"], prog_name="bender")
        self.assertIn("\nColumns of backends:\n  NAME     The name of the backend.\n", result.output)
        self.assertIn(
            "\nColumns of members of one backend:\n  HOST     The address or hostname of the member", result.output
        )


class Mistakes(SynchronousTestCase):
    def said(self, *arguments: str) -> str:
        """Return the error of an invalid command line."""
        stderr = StringIO()
        with redirect_stderr(stderr):
            self.assertEqual(run_command(bender, arguments), 2)
        return stderr.getvalue()

    def test_each_is_one_sentence_that_names_the_word(self) -> None:
        """An error that is found before any request is one sentence with the invalid word."""
        for arguments, why in (
            (["lss"], "no such command 'lss'; did you mean 'ls'? (see bender --help)"),
            (["backend", "nonsense"], "no such command 'nonsense' (see bender backend --help)"),
            (["ls", "a", "b", "c"], "unexpected extra argument (c) (see bender ls --help)"),
            (["ls", "--token-file=/dev/null"], "'--token-file': "),
            (["ls", f"--ca={__file__}"], "holds no certificate"),
            (["ls", "--bogus"], "no such option '--bogus'"),
            (["ls", ""], "invalid value for '[APP]'"),
            (["ls", "a/b"], "invalid value for '[APP]': 'a/b' must be"),
            (["ls", "--meta=x"], "invalid value for '--meta': 'x' is not KEY=VALUE"),
            (["ls", "--node="], "no node is given"),
            (["ls", "--node=a:b"], "'a:b' is not a node"),
            (["ls", "--token-file=/nowhere"], "'--token-file': File '/nowhere' does not exist"),
            (["ls", "--as="], "'' must be a name of 1 to 64 printable characters"),
            (["ls", "--as=" + "x" * 65], "must be a name of 1 to 64 printable characters"),
            (["watch", "--only=onlin"], "'--only': 'onlin' is not an event: give some of online, "),
            (["explain"], "missing argument 'APP/VERSION/HOST/PORT'"),
            (["register", WEB, "--weight=300"], "'--weight': 300 is not in the range"),
            (["deregister", WEB, "--wait=99"], "'--wait': '99' is out of range: give at least 0s and at most 60s"),
            (["backend", "set"], "missing argument 'NAME'"),
            (["backend", "set", "shop", "note"], "'note' is not KEY=VALUE"),
            (["frontend", "rm", "a/b"], "'NAME': 'a/b' must be"),
            (["completion"], "missing argument 'SHELL'; choose from: bash, zsh, fish"),
        ):
            said = self.said(*arguments)
            self.assertRegex(said, r"\Abender: .*[^.\s]\.\n\Z")
            self.assertIn(why, said)


class Trees(SynchronousTestCase):
    def test_groups_within_groups(self) -> None:
        """The tree has the full command line of each command."""

        @click.group(cls=Group)
        def outer() -> None:
            pass

        @outer.group("inner")
        def inner() -> None:
            pass

        @inner.command("leaf")
        def leaf() -> None:
            """Do it."""

        self.assertEqual([*outer.tree("outer")], [("outer inner leaf", leaf)])


class Twice(SynchronousTestCase):
    """A file or a list is accepted only once, because only the last would be used; other options may be repeated."""

    def refusal(self, *arguments: str) -> str:
        with redirect_stderr(StringIO()) as said:
            self.assertEqual(run_command(bender, arguments), 2)
        return said.getvalue()

    def test_an_option(self) -> None:
        """A repetition is found in the short and the long form of an option."""
        with TemporaryDirectory() as folder:
            file = Path(folder, "shop.toml")
            file.write_text("")
            refusal = self.refusal("apply", "-f", str(file), f"--file={file}")
        self.assertIn("bender: --file is given twice: give it once (see bender apply --help)", refusal)

    def test_a_list(self) -> None:
        self.assertIn("--node is given twice: give it once, with commas between", self.refusal("ls", *["--node=h"] * 2))

    def test_flags_and_what_may_be_given_several_times(self) -> None:
        """Flags and options with one value may be repeated, and the last value is used."""
        options = [
            click.Option(["--force"], is_flag=True),
            click.Option(["--meta"], multiple=True),
            click.Option(["--app"]),
        ]
        command = BenderCommand("x", params=[*options])
        context = command.make_context("x", ["--force", "--force", "--meta=1", "--meta=2", "--app=a", "--app=b"])
        self.assertEqual(context.params, {"force": True, "meta": ("1", "2"), "app": "b"})


class Sources(SynchronousTestCase):
    """An error names the source of the invalid value: the option, or its environment variable."""

    def test_option_and_variable(self) -> None:
        for environment, arguments, source in (
            ({"BENDER_NODES": "a:b:c"}, ["ls"], "'BENDER_NODES'"),
            ({"BENDER_NODES": "h:1"}, ["ls", "--node=a:b:c"], "'--node'"),
        ):
            with CliRunner().isolation(env=environment), redirect_stderr(StringIO()) as said:
                self.assertEqual(run_command(bender, arguments), 2)
            self.assertIn(f"bender: invalid value for {source}: '[a:b:c]' is not a node", said.getvalue())


class Empty(SynchronousTestCase):
    """A file that declares nothing is refused: `bender export` leaves such a file if no node answers."""

    def test_check_and_apply(self) -> None:
        with TemporaryDirectory() as folder:
            file = Path(folder, "shop.toml")
            for text in ("", "# nothing\n", "[backends]\n"):
                file.write_text(text)
                apply = ["apply", "-f", str(file)]
                for arguments in (["check", str(file)], apply, [*apply, "--prune"]):
                    with redirect_stderr(StringIO()) as said, redirect_stdout(StringIO()):
                        self.assertEqual(run_command(bender, arguments), 1)
                    self.assertRegex(said.getvalue(), f"{file}:? declares nothing")
