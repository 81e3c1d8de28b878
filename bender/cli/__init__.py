"""`bender`, the command line: asks a registry, changes it, and runs commands that are in it.

Its commands are shells of `bender.client` and `bender.run`. What a command prints is for people on a terminal,
plain columns elsewhere, and with `--json` what the API answers. It ends with status 0 if it was done, 1 if not, 2 if it
was not understood.
"""

import gc
import sys

from bender.cli.click_base import as_utf8, run_command
from bender.cli.commands import bender

__all__ = ["bender", "main"]


def main() -> None:
    """Run the command that this process was started with."""
    # Its imports make no garbage, and to look for some takes a tenth of the time of a short command. What runs longer
    # has the collector started again with its reactor.
    gc.disable()
    sys.exit(run_command(bender, as_utf8(sys.argv[1:])))
