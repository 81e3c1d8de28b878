"""`bender`, the command line: query a registry, change it, and run registered commands.

Its commands are shells of `bender.client`, `bender.run`, `bender.deploy` and `bender.declared`. The output is made for
people on a terminal, plain columns elsewhere, and with `--json` the answer of the API. The exit status is 0 for
success, 1 for failure, and 2 for an invalid command line.
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
