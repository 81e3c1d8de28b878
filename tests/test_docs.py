"""The documentation names existing files, commands and numbers."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from bender.api import server as api
from bender.cli import bender
from bender.cli.click_base import BenderCommand
from bender.cli.reference import reference
from bender.client import Client
from bender.client.transport import one_by_one
from bender.core.model import ENTRY_BYTES_BOUND
from bender.daemon.limit_options import (
    BODY_BYTES_BOUND,
    CONNECTIONS_BOUND,
    ENTRY_BYTES_LEAST,
    LIMIT_OPTIONS,
    REGISTRATIONS_BOUND,
)
from bender.exchange import server as exchange
from bender.line_protocol import connection_limits
from bender.net import http_server
from bender.protocols.dns import connections as dns_connections
from bender.protocols.dns import datagrams
from bender.protocols.dns import service as dns_service
from bender.protocols.dns.message import PAYLOAD_BYTES

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
COLUMNS_MAX = 100


class Links(SynchronousTestCase):
    def test_every_link_to_a_file_leads_to_one(self) -> None:
        """Each link leads to a file and, with a fragment, to a heading in it."""
        self.assertNotEqual(PAGES, [])
        broken = []
        for page in PAGES:
            for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
                target, _, anchor = link.partition("#")
                path = page.parent / target if target else page
                if "://" not in link and not (path.exists() and (not anchor or anchor in _anchors(path))):
                    broken.append(f"{page.name}: {link}")
        self.assertEqual(broken, [])

    def test_every_make_target_that_is_named_is_there(self) -> None:
        """`make` has each target that the pages name."""
        targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
        named = {
            target
            for page in PAGES
            for target in re.findall(r"(?:`|^)make ([a-z-]+)", page.read_text("utf-8"), re.MULTILINE)
        }
        self.assertEqual(named - targets, set())


class Width(SynchronousTestCase):
    def test_text_is_wrapped_at_100_columns(self) -> None:
        """Text is wrapped. Code, tables, headings and links may be longer."""
        long = [
            f"{page.relative_to(ROOT)}:{number}"
            for page in PAGES
            if page.name != "cli.md"
            for number, line in _text_lines(page)
            if len(line) > COLUMNS_MAX and not re.match(r"(\||#|<!--|\S*$)", re.sub("`[^`]*`", "``", line.strip()))
        ]
        self.assertEqual(long, [])


class Architecture(SynchronousTestCase):
    def test_every_module_that_is_named_exists(self) -> None:
        """All modules exist that the glossary and the tables of the layers name."""
        page = (ROOT / "docs/architecture.md").read_text("utf-8")
        named = set(re.findall(r"`((?:\w+/)+\w+\.py)`", page))
        for package, section in re.findall(r"^### (core|node|haproxy)/\n(.*?)(?=^##)", page, re.MULTILINE | re.DOTALL):
            for row in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE):
                named |= {f"{package}/{module}.py" for module in re.findall(r"`(\w+)`", row)}
        self.assertGreater(len(named), 60)
        self.assertEqual([name for name in sorted(named) if not _is_in_tree(name)], [])

    def test_every_module_of_the_web_page_is_named(self) -> None:
        """The table of the web page names all its modules except `main`, and no others."""
        page = (ROOT / "docs/architecture.md").read_text("utf-8")
        (section,) = re.findall(r"^### page/\n(.*?)(?=^##)", page, re.MULTILINE | re.DOTALL)
        rows = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
        named = ["main", *(module.rpartition("/")[2] for row in rows for module in re.findall(r"`([\w/]+)`", row))]
        self.assertEqual(sorted(named), sorted(path.stem for path in (ROOT / "bender/page").rglob("*.js")))


class Decisions(SynchronousTestCase):
    def test_each_has_a_number_of_its_own(self) -> None:
        """A decision has the same number in its heading, its file name and the index, and each number is used once."""
        pages = [*(ROOT / "docs/decisions").glob("[0-9]*.md")]
        numbers = [page.name.partition("-")[0] for page in pages]
        self.assertGreater(len(numbers), 70)
        self.assertEqual([page.read_text("utf-8").split()[1] for page in pages], numbers)
        listed = re.findall(r"^- \[(\d+)\]\(\1-", (ROOT / "docs/decisions/index.md").read_text("utf-8"), re.MULTILINE)
        self.assertEqual(sorted(listed), sorted({*numbers}))
        self.assertEqual(len(numbers), len({*numbers}))


class Readme(SynchronousTestCase):
    def test_its_first_commands_run_it_and_test_it(self) -> None:
        """The first two `make` commands in the README are `make run` and `make test`."""
        blocks = re.findall(r"^```sh\n(.*?)^```", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)
        commands = [line.partition("#")[0].strip() for block in blocks for line in block.splitlines()]
        self.assertEqual([command for command in commands if command.startswith("make")][:2], ["make run", "make test"])


class ClientPage(SynchronousTestCase):
    def test_a_client_is_made_as_it_says(self) -> None:
        """The signature on the page, which is written by hand, has the parameters of `Client`."""
        written = re.search(r"autoclass:: [\w.]*Client(\(.*\))", (ROOT / "docs/client.md").read_text("utf-8"))
        assert written
        names: dict[str, Any] = {"one_by_one": one_by_one}
        exec(f"from __future__ import annotations\ndef made{written[1]}: ...", names)
        parameters = inspect.signature(names["made"]).parameters
        self.assertEqual(dict(parameters), dict(inspect.signature(Client).parameters))


class CommandLine(SynchronousTestCase):
    def test_the_reference_is_what_the_commands_say(self) -> None:
        """docs/cli.md is the output of `make reference`."""
        self.assertEqual((ROOT / "docs/cli.md").read_text("utf-8"), reference())

    def test_every_command_and_option_says_what_it_does(self) -> None:
        """Every command has a help text and an example, and every option has a help text."""
        for path, command in bender.tree("bender"):
            self.assertIsInstance(command, BenderCommand, path)
            assert isinstance(command, BenderCommand)
            self.assertTrue(command.help, path)
            self.assertIn(path, command.examples)
            for parameter in command.params:
                self.assertTrue(parameter.help, f"{path} {parameter.name}")


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _text_lines(page: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a page with their numbers, except those in blocks of code and in comments."""
    end = ""
    for number, line in enumerate(page.read_text("utf-8").splitlines(), 1):
        if end:
            end = "" if end in line else end
        elif line.strip().startswith("```"):
            end = "```"
        elif line.strip().startswith("<!--") and "-->" not in line:
            end = "-->"
        else:
            yield number, line


def _is_in_tree(name: str) -> bool:
    return (ROOT / "bender" / name).exists() or (ROOT / name).exists()


class LimitsPage(SynchronousTestCase):
    PAGE = (ROOT / "docs/limits.md").read_text("utf-8")

    def test_each_option_with_its_default(self) -> None:
        """The table has all options with their defaults, in the order of the command line."""
        rows = re.findall(r"^\| `--([a-z-]+)` \| ([0-9]+)", self.PAGE, re.MULTILINE)
        self.assertEqual(
            [(option, float(default)) for option, default in rows],
            [(option, default) for option, (default, _) in LIMIT_OPTIONS.items()],
        )

    def test_bounds(self) -> None:
        """The documented bounds are those that bender checks."""
        for option, least, most in (
            ("max-connections", 1, CONNECTIONS_BOUND),
            ("max-subscribers", 1, CONNECTIONS_BOUND),
            ("max-registrations", 1, REGISTRATIONS_BOUND),
            ("max-body", ENTRY_BYTES_LEAST, BODY_BYTES_BOUND),
            ("max-entry", ENTRY_BYTES_LEAST, ENTRY_BYTES_BOUND),
        ):
            self.assertRegex(self.PAGE, rf"`--{option}` \| [0-9]+ \| {least:,} to {most:,} ")

    def test_fixed_limits(self) -> None:
        """The documented limits of connections, bytes and DNS are the constants in the code."""
        for number in (
            f"connections of peers | {exchange.CONNECTIONS_MAX:,}",
            f"(`request_bytes`) | {api.INCOMPLETE_BYTES_MAX >> 20} MiB",
            f"(`line_bytes`) | {connection_limits.INCOMPLETE_BYTES_MAX >> 20} MiB",
            f"(`peer_request_bytes`) | {exchange.HELD_BYTES_MAX >> 20} MiB",
            f"(`dns_answer_bytes`) | {dns_connections.UNREAD_BYTES_MAX >> 20} MiB",
            f"query over DNS | {dns_connections.QUERY_BYTES_MAX >> 10} KiB",
            f"wait for their turn, and how long | {datagrams.WAITING_MAX:,}, {datagrams.WAITED_S_MAX:g} s",
            f"of that {PAYLOAD_BYTES:,} bytes; {dns_service.MESSAGE_BYTES_MAX:,} bytes",
            f"(`answer_bytes`) | {http_server.ANSWER_BYTES_MAX >> 20} MiB",
        ):
            self.assertIn(number, self.PAGE)
