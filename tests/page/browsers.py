"""Debian's Chromium, without a window."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, expect, sync_playwright

from tests.e2e.nodes import PATIENCE_S
from tests.twistd_command import ROOT

#: The folder in which `make test-deps` sets up Chromium.
FOLDER = ROOT / ".deps/chromium"

#: Options beside Playwright's own, for the same behaviour on every machine: Chromium sends no network requests of its
#: own, and needs neither a graphics card nor a large /dev/shm.
FLAGS = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
]


def chromium(folder: Path = FOLDER) -> str:
    """Return the path of the machine's Chromium, or else of the one that was set up in a folder."""
    path = shutil.which("chromium") or str(folder / "chromium")
    assert Path(path).exists(), f"Chromium is missing: {path}"
    return path


@contextmanager
def started(folder: Path = FOLDER) -> Iterator[Browser]:
    """Start Chromium with an empty profile, which is deleted at the end; `expect` has the time limit of all tests.

    The folder is that of `make test-deps`, unless another one is given.
    """
    expect.set_options(timeout=PATIENCE_S * 1000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium(folder),
            args=FLAGS,
            # Chromium's sandbox refuses root.
            chromium_sandbox=os.geteuid() != 0,
            timeout=PATIENCE_S * 1000,
        )
        yield browser
        browser.close()
