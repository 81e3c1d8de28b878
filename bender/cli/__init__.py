"""`bender`, the command line: asks a registry, changes it, and runs commands that are in it.

Its commands are shells of `bender.client` and `bender.running`. What a command prints is for people on a terminal,
plain columns elsewhere, and with `--json` what the API answers. It ends with status 0 if it was done, 1 if not, 2 if it
was not understood.
"""

import sys

from bender.cli.commands import bender
from bender.cli.grammar import as_utf8, run

__all__ = ["bender", "main"]


def main() -> None:
    """Run the command that this process was started with."""
    sys.exit(run(bender, as_utf8(sys.argv[1:])))
