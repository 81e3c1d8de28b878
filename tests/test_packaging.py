"""The files in `packaging/` agree with the rest of the repository."""

from __future__ import annotations

import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import click
from twisted.trial.unittest import SynchronousTestCase

from bender.cli.run import run
from bender.daemon.options import OPTIONS, validate_options
from bender.process.options import from_toml

ROOT = Path(__file__).parents[1]
PACKAGING = ROOT / "packaging"


class Image(SynchronousTestCase):
    def test_what_is_copied_is_there_and_not_ignored(self) -> None:
        """Each copied path exists, and .dockerignore allows exactly the copied paths."""
        dockerfile = (PACKAGING / "Dockerfile").read_text("utf-8")
        copied = [
            word for line in re.findall(r"^COPY (?!--from)(.*) \S+$", dockerfile, re.MULTILINE) for word in line.split()
        ]
        self.assertIn("bender", copied)
        lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
        allowed = [line[1:] for line in lines if line.startswith("!")]
        for path in copied:
            self.assertTrue((ROOT / path).exists(), path)
            self.assertTrue(any(fnmatch(path, pattern) for pattern in allowed), path)
        self.assertEqual(sorted(allowed), sorted(copied))

    def test_the_package_needs_no_more_than_that(self) -> None:
        """The image contains the files that pyproject.toml names."""
        project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
        dockerfile = (PACKAGING / "Dockerfile").read_text("utf-8")
        for path in (project["readme"], *project["license-files"], "pyproject.toml", "twisted"):
            self.assertRegex(dockerfile, rf"COPY .*\b{re.escape(path)}\b")


class Sample(SynchronousTestCase):
    def test_it_has_all_options_with_their_defaults(self) -> None:
        """The sample lists all options with their defaults in comments, and a node accepts the file unchanged."""
        path = PACKAGING / "bender.toml"
        self.assertEqual(tomllib.loads(path.read_text("utf-8")), {})
        validate_options(from_toml(str(path), OPTIONS, "bender"), "host")
        said = tomllib.loads("\n".join(re.findall(r"^#([\w-]+ = .*)$", path.read_text("utf-8"), re.MULTILINE)))
        self.assertEqual(said.keys(), OPTIONS.keys())
        for option, (default, _) in OPTIONS.items():
            if default not in (None, ()):
                self.assertEqual(said[option], default, option)


class Units(SynchronousTestCase):
    def test_there_is_time_to_end(self) -> None:
        """The time limit of systemd is longer than the three waits of the service at its end."""
        unit = (PACKAGING / "bender-run@.service").read_text("utf-8")
        seconds = [float(each) for each in re.findall(r"--(?:wait|drain|kill-after) (\d+)", unit)]
        self.assertEqual(len(seconds), 3)
        limit = re.search(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
        assert limit
        self.assertGreater(float(limit[1]), sum(seconds) + 10)

    def test_its_options_are_those_of_the_command(self) -> None:
        """The unit calls `bender run` with valid options, and with all required ones."""
        unit = (PACKAGING / "bender-run@.service").read_text("utf-8").replace("\\\n", " ")
        line = re.search(r"^ExecStart=\S+/bender run (.*) -- \$COMMAND$", unit, re.MULTILINE)
        assert line
        words = line[1].replace("${PORT}", "8080").split()
        context = run.make_context("run", [*words, "--", "x"])
        self.assertIsInstance(context, click.Context)
        self.assertEqual((context.params["port"], context.params["arguments"]), (8080, ("x",)))
