"""The options that all services under `twistd` have: `--config`, `--check-config` and `--version`."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from attrs import evolve
from twisted.python import usage

from bender import __version__
from bender.core.did_you_mean import did_you_mean
from bender.process.lifecycle import refuse_start
from bender.process.options import OptionError
from bender.process.service_log import ServiceLog
from bender.process.signals import RereadResult


class BaseOptions(usage.Options):
    """The command line of a program, with options as text. `validated` has the options after conversion and checks."""

    #: The name of the program after `twistd`.
    program: str
    #: The options that name files or folders, which are read again after SIGHUP.
    file_options: Sequence[str] = ()

    synopsis = "[options]"
    optParameters = [["config", None, None, "FILE with these options as TOML; the command line wins"]]
    optFlags = [["check-config", None, "check the options and all files they name, and exit without starting"]]

    validated: Any

    def opt_version(self) -> None:
        """Display bender's version and exit."""
        print(f"bender {__version__}")  # noqa: T201
        raise SystemExit(0)

    def parseArgs(self, *arguments: str) -> None:
        if arguments:
            raise OptionError(
                f"{arguments[0]!r} is an unexpected argument: every option of {self.program} begins with --."
            )

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Parse the options, and end the process if they are not valid."""
        try:
            super().parseOptions(options)
        except usage.UsageError as error:
            hint = self._hint(str(error))
            refuse_start(f"{error}{f'{hint} See' if hint else ': see'} twistd {self.program} --help.")
        except OptionError as error:
            refuse_start(str(error))
        if self["check-config"]:
            _end_checked(self.check_and_describe())

    def _hint(self, problem: str) -> str:
        """Return a hint at a similar option, if the problem is an option that does not exist; else an empty text."""
        unknown = re.fullmatch(r"option --(\S+) not recognized", problem)
        known = [f"--{name.rstrip('=')}" for name in self.longOpt]
        return did_you_mean(f"--{unknown[1]}", known) if unknown else ""

    def postOptions(self) -> None:
        for option in ("config", *self.file_options):  # the working directory may change before they are read again
            if self[option] is not None:
                self[option] = os.path.abspath(self[option])  # noqa: PTH100 - Path leaves `..` in it, or follows links
        self.validated = self.validate()

    def validate(self) -> Any:
        """Read the files again, and return the converted and checked options. Raises `OptionError`."""
        raise NotImplementedError

    def reread(self, log: ServiceLog, apply: Callable[[Any], RereadResult]) -> RereadResult:
        """Read the files again, and apply the options to the service and its log. Raises `OptionError`."""
        options = self.validate()
        result = apply(options)
        return evolve(result, changed=[*result.changed, *log.change(options.log_settings)])

    def check_and_describe(self) -> str:
        """Check what `validate` does not check, and return a description of the configuration in a few words.

        End the process with `refuse_start` if the configuration is not valid.
        """
        raise NotImplementedError


def _end_checked(description: str) -> NoReturn:
    """Print that the configuration is valid, with its description, and end the process with status 0."""
    print(f"The configuration is valid: {description}.")  # noqa: T201
    sys.exit(0)
