"""The options of a driver, their defaults, and the errors for invalid values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from bender.haproxy import config_file
from bender.haproxy.config_file import lock_output
from bender.haproxy.core.machine_settings import TIMEOUTS, Log, Machine
from bender.haproxy.options import OPTIONS, SOCKET_BYTES_MAX, DriverOptions, options_in_file, validate_options
from bender.haproxy.tap import DriverCommandLine
from bender.process.lifecycle import StartRefused
from bender.process.options import OptionError, RawOption


class ChoicesCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.haproxy = self.folder / "haproxy"
        self.haproxy.touch()
        self.haproxy.chmod(0o700)
        self.environment = {"PATH": "/none"}
        self.given = {"output": str(self.folder / "cfg"), "socket": "/run/h.sock", "check": str(self.haproxy)}

    def chosen(self, *flags: str, nodes: tuple[str, ...] = (), **given: str | None) -> DriverOptions:
        said = {**self.given, **{name.replace("_", "-"): value for name, value in given.items()}}
        known = {name: value for name, value in said.items() if value is not None}
        return validate_options(known, nodes, frozenset(flags), host_name="box", environment=self.environment)

    def refused(
        self, *words: str, flags: tuple[str, ...] = (), nodes: tuple[str, ...] = (), **given: str | None
    ) -> None:
        sentence = str(self.assertRaises(OptionError, self.chosen, *flags, nodes=nodes, **given))
        for word in words:
            self.assertIn(word, sentence)
        self.assertNotIn("\n", sentence)
        self.assertTrue(sentence.endswith("."), sentence)


class Chosen(ChoicesCase):
    def test_with_what_is_needed_alone(self) -> None:
        """By default, a driver follows this machine's node, is named after the machine, and does not reload HAProxy."""
        choices = self.chosen()
        self.assertEqual((choices.nodes, choices.name), (("127.0.0.1:1729",), "box-haproxy"))
        self.assertEqual((choices.runs, choices.reload, choices.status, choices.report), (False, None, None, False))

    def test_with_all(self) -> None:
        """`--bender` may be repeated, and each value may have several nodes with commas between them."""
        (self.folder / "token").write_text("secret\n")
        (self.folder / "template").write_text("# é\n")
        choices = self.chosen(
            "report",
            nodes=("http://a:1", "b,http://a:1"),
            run=str(self.haproxy),
            status="tcp:9:interface=127.0.0.1",
            name="edge",
            token_file=str(self.folder / "token"),
            template=str(self.folder / "template"),
        )
        self.assertEqual((choices.nodes, choices.runs), (("http://a:1", "b:1729"), True))
        self.assertEqual((choices.token, choices.template, choices.report), ("secret", "# é\n", True))

    def test_the_program_that_checks(self) -> None:
        """By default, the program of `--run` also checks the configuration."""
        self.assertEqual(self.chosen(check=None, run=str(self.haproxy)).haproxy, str(self.haproxy))


class Refused(ChoicesCase):
    def test_what_is_needed(self) -> None:
        """The error names the missing option and its value."""
        self.refused("--output is required", "FILE", output=None)
        self.refused("--socket is required", "FILE", socket=None)

    def test_what_excludes_each_other(self) -> None:
        """`--reload` is refused with `--run`, because the driver reloads the HAProxy that it has started."""
        self.refused("--run", "--reload", run=str(self.haproxy), reload="true")

    def test_nodes(self) -> None:
        """The error quotes the invalid node."""
        self.refused("--bender", "'a b'", nodes=("a b",))
        self.refused("--bender", nodes=("",))

    def test_nodes_of_the_environment(self) -> None:
        """`BENDER_NODES` has the default nodes, and `--bender` replaces them."""
        self.environment["BENDER_NODES"] = "c,d:1"
        self.assertEqual(self.chosen(nodes=()).nodes, ("c:1729", "d:1"))
        self.assertEqual(self.chosen(nodes=("a",)).nodes, ("a:1729",))
        self.environment["BENDER_NODES"] = "a b"
        self.refused("BENDER_NODES", "'a b'", nodes=())

    def test_files(self) -> None:
        """Files that cannot be read or written, and files with invalid content, are refused."""
        self.refused("--output", "folder", output=str(self.folder))
        self.refused("--output", "cannot be written", output=str(self.folder / "none" / "cfg"))
        self.refused("--template", "cannot be read", template=str(self.folder / "none"))
        self.refused("--ca", "cannot be read", ca=str(self.folder))
        (self.folder / "latin").write_bytes(b"\xe9")
        self.refused("--template", "UTF-8", template=str(self.folder / "latin"))
        (self.folder / "empty").write_text("\n")
        self.refused("--token-file", "no token", token_file=str(self.folder / "empty"))

    def test_the_socket(self) -> None:
        """The path of the socket is limited in length, has no comma, and must not be a folder."""
        self.refused("--socket", str(SOCKET_BYTES_MAX), socket="/" + "x" * SOCKET_BYTES_MAX)
        self.refused("--socket", "comma", socket="/run/a,b")
        self.refused("--socket", "is a folder", socket="/dev")
        for nowhere in ("/none/h.sock", "/dev/null/h.sock"):
            self.refused("--socket", "--run", "write to it", socket=nowhere, run=str(self.haproxy))
            self.assertEqual(str(self.chosen(socket=nowhere).socket), nowhere)  # --run makes the folder
        self.assertEqual(str(self.chosen(socket="/" + "x" * (SOCKET_BYTES_MAX - 1)).socket)[:2], "/x")

    def test_programs(self) -> None:
        """Programs are searched for at the start, before they are needed."""
        self.refused("--run", "not an executable", check=None, run=str(self.folder / "none"))
        self.refused("--check", "not an executable", check=str(self.folder))
        self.refused("install it", check=None)
        self.environment["PATH"] = str(self.folder)
        self.assertEqual(self.chosen(check=None).haproxy, str(self.haproxy))

    def test_the_status(self) -> None:
        """Only `--insecure` allows a status that other machines can reach."""
        self.refused("--status", "--insecure", status="tcp:9")
        self.refused("--status must be", status="nonsense")
        self.assertIsNotNone(self.chosen("insecure", status="tcp:9").status)

    def test_the_name(self) -> None:
        """The name must be valid as the name of a consumer."""
        self.refused("--name", "printable", name="a/b")


class OfTheMachine(ChoicesCase):
    """Settings of HAProxy's machine."""

    def test_nothing(self) -> None:
        """Without these options, the settings are the defaults."""
        choices = self.chosen()
        self.assertEqual((choices.machine, choices.certificates, choices.include), (Machine(), None, None))

    def test_the_log(self) -> None:
        """The log is an address, a socket or HAProxy's output, with an optional facility."""
        for text, log in {
            "stdout": Log("stdout", "local0", "raw"),
            "/dev/log,local3": Log("/dev/log", "local3"),
            "10.0.0.1": Log("10.0.0.1:514"),
            "localhost:1514,daemon": Log("127.0.0.1:1514", "daemon"),
            "[0::1]:514": Log("[::1]:514"),
            "::1": Log("[::1]:514"),
        }.items():
            self.assertEqual(self.chosen(log=text).machine.log, log)
        for text in (
            "",
            "a b",
            "stdot",
            "logs.example:514",
            "a:b",
            "a:0",
            "dev/log",
            "/dev/log,x",
            "/dev/\nlog",
            "a:1:2",
            "[::1",
            "10.0.0.1:",
        ):
            self.refused("--log", log=text)

    def test_statistics(self) -> None:
        """The statistics are at loopback by default, and only `--insecure` allows other addresses."""
        for text, bind in {
            "8405": "127.0.0.1:8405",
            "127.0.0.1": "127.0.0.1:8404",
            "127.0.0.2:99": "127.0.0.2:99",
            "::1": "[::1]:8404",
            "[::1]:99": "[::1]:99",
        }.items():
            self.assertEqual(self.chosen(stats=text).machine.stats, bind)
        self.assertEqual(self.chosen("insecure", stats="*:1").machine.stats, "*:1")
        self.assertEqual(self.chosen("insecure", stats="10.0.0.1").machine.stats, "10.0.0.1:8404")
        for text in ("*:1", "*", "10.0.0.1:1", "0.0.0.0"):
            self.refused("--stats", "--insecure", stats=text)
        for text in ("0", "99999", "x", "x:1", "127.0.0.1:1,127.0.0.1:2", ""):
            self.refused("--stats", "ADDRESS:PORT", stats=text)

    def test_limits(self) -> None:
        """Durations are in seconds, or have one of HAProxy's units."""
        choices = self.chosen(maxconn="500", timeouts="server=30, tunnel=2h,http-request=500ms")
        self.assertEqual(choices.machine.maxconn, 500)
        self.assertEqual(choices.machine.timeouts, {**TIMEOUTS, "server": 30, "tunnel": 7200, "http_request": 0.5})
        for text in ("0", "-1", "1.5", "x", "10000000", ""):
            self.refused("--maxconn", maxconn=text)
        for text in ("", "server", "server=", "server=0", "server=2d", "servr=1", "server=100000", "client=-1"):
            self.refused("--timeouts", timeouts=text)

    def test_files(self) -> None:
        """The files must exist when the driver starts."""
        self.refused("--certificates", "does not exist", certificates=str(self.folder / "none"))
        self.refused("--include", "does not exist", include=str(self.folder / "none"))
        self.refused("--include", "not a folder", include=str(self.haproxy))
        choices = self.chosen(include=str(self.folder), certificates=str(self.folder))
        self.assertEqual((choices.include, choices.certificates), (self.folder, self.folder))

    def test_a_template_that_does_not_know_of_them(self) -> None:
        """An option is refused if the template does not use it, because it would have no effect."""
        template = self.folder / "template"
        template.write_text("global\n{{ machine.log | destination }}\n")
        self.assertIsNotNone(self.chosen(template=str(template), log="stdout").machine.log)
        self.refused("--stats", "machine.stats", template=str(template), stats="1")
        self.refused("--include", "custom.of", template=str(template), include=str(self.folder))


class OneAtATime(ChoicesCase):
    """Two drivers with the same output file would overwrite each other's changes."""

    def test_files_of_another(self) -> None:
        """An output file is refused while another driver has its lock."""
        output = self.folder / "cfg"
        lock = lock_output(output)
        self.addCleanup(lock.close)
        self.assertIn(str(output), str(self.assertRaises(config_file.ConfigRefused, lock_output, output)))
        lock_output(self.folder / "other").close()
        lock.close()
        lock_output(output).close()


class CommandLine(ChoicesCase):
    def parse(self, *arguments: str) -> DriverCommandLine:
        options = DriverCommandLine()
        given = [f"--{name}={value}" for name, value in self.given.items()]
        options.parseOptions([*given, *arguments])
        return options

    def test_options(self) -> None:
        """`--bender` may be repeated, and `--report` takes no value."""
        options = self.parse("--bender=a", "--bender=b", "--report")
        self.assertEqual((options.validated.nodes, options.validated.report), (("a:1729", "b:1729"), True))

    def test_every_option_is_in_the_help(self) -> None:
        """The help has every option, and shows whether it takes a value."""
        text = " ".join(DriverCommandLine().getUsage().split())
        for option, (takes, _) in OPTIONS.items():
            self.assertIn(f"--{option}{'=' if takes else ''}", text)

    def test_mistakes_end_the_process(self) -> None:
        """A mistake ends the process with one sentence."""
        self.assertIn("unexpected argument", str(self.assertRaises(StartRefused, self.parse, "word")))
        self.assertIn("see twistd bender-haproxy --help", str(self.assertRaises(StartRefused, self.parse, "--wxyz")))
        self.assertIn("--name", str(self.assertRaises(StartRefused, self.parse, "--name=a/b")))


class ConfigFiles(SynchronousTestCase):
    """Options in a TOML file get the form of the command line."""

    def given(self, **values: Any) -> tuple[dict[str, str], list[str], frozenset[str]]:
        texts, nodes, flags = options_in_file(
            {name: RawOption(f"{name} in edge.toml", value) for name, value in values.items()}
        )
        return texts, [*nodes], flags

    def test_values_nodes_and_flags(self) -> None:
        """Nodes are one string or a list of them; a flag is true or false."""
        self.assertEqual(
            self.given(output="/cfg", bender=["a", "b:1"], report=True, insecure=False),
            ({"output": "/cfg"}, ["a", "b:1"], frozenset({"report"})),
        )
        self.assertEqual(self.given(bender="a,b"), ({}, ["a,b"], frozenset()))

    def test_a_value_of_another_type_is_refused(self) -> None:
        """The sentence names the key and the file."""
        for name, value in {"output": True, "bender": [1], "report": "yes", "name": ["edge"]}.items():
            sentence = str(self.assertRaises(OptionError, self.given, **{name: value}))
            self.assertIn(f"{name} in edge.toml must be", sentence)
            self.assertIn(repr(value), sentence)
