"""`bender` in processes that are forked off one which has imported all of it: each takes hundredths of a second.

A fresh Python that imports `bender` takes a third of a second of the processor, which adds up over a few hundred
commands. What depends on how Python starts (the locale, the console script) needs a fresh process.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress

from attrs import define

from tests.e2e.nodes import PATIENCE_S, environment


@define
class Ended:
    """What became of a command."""

    status: int
    stdout: str
    stderr: str


#: Reads `[arguments, variables]`, a line each, and answers with `[status, stdout, stderr]`.
_FORKING = """
import json, os, sys, tempfile
import bender.cli, bender.client, treq, twisted.web.client
assert "twisted.internet.reactor" not in sys.modules
from bender.cli import commands, deploying, running, session
for line in sys.stdin:
    arguments, variables = json.loads(line)
    files = [tempfile.TemporaryFile() for _ in range(2)]
    child = os.fork()
    if not child:
        os.environ.clear()
        os.environ.update(variables)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, file in enumerate(files, 1):
            os.dup2(file.fileno(), number)
        sys.argv = ["bender", *arguments]
        try:
            bender.cli.main()
        except SystemExit as end:
            status = end.code
        except BaseException:
            import traceback
            traceback.print_exc()
            status = 99
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(status or 0)
    _, ended = os.waitpid(child, 0)
    texts = []
    for file in files:
        file.seek(0)
        texts.append(file.read().decode("utf-8", "surrogateescape"))
        file.close()
    print(json.dumps([os.waitstatus_to_exitcode(ended), *texts]), flush=True)
"""


class Forks:
    """Runs commands of this checkout, one after the other. The process from which they are forked starts on demand."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def __call__(self, arguments: Sequence[str], variables: Mapping[str, str], within_s: float = PATIENCE_S) -> Ended:
        """Run a command with these variables as its environment; it must end within this time."""
        process = self._process = self._process or subprocess.Popen(
            [sys.executable, "-c", _FORKING],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert process.stdin and process.stdout
        process.stdin.write(json.dumps([arguments, dict(variables)]).encode() + b"\n")
        process.stdin.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            if not selector.select(within_s):
                self.end()
                raise AssertionError(f"{arguments} takes longer than {within_s} s")
        return Ended(*json.loads(process.stdout.readline()))

    def end(self) -> None:
        """End the process, and a command that still runs."""
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(PATIENCE_S)
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()
