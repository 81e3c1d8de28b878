"""`bender`, the command line: query a registry, change it, and run registered commands.

The commands use `bender.client`, `bender.run`, `bender.deploy` and `bender.declared`. Output to a terminal is formatted
for people, other output has plain columns, and with `--json` the output is the answer of the API. The exit status is 0
for success, 1 for failure, and 2 for an invalid command line.
"""

import gc
import sys

from bender.cli.click_base import as_utf8, run_command
from bender.cli.commands import bender

__all__ = ["bender", "main"]


def main() -> None:
    """Run the command line of this process, and end the process with its exit status."""
    # The imports of a command make no garbage, and a search for garbage takes a tenth of the time of a short command.
    # `run_on_reactor` enables the collector again for commands that run longer.
    gc.disable()
    sys.exit(run_command(bender, as_utf8(sys.argv[1:])))
