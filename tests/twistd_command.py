"""The command that starts a node of this checkout, for the tests and measurements that run real processes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def twistd() -> list[str]:
    """Return the command that starts `twistd` in the foreground, without a pid file."""
    return [sys.executable, str(Path(sys.executable).with_name("twistd")), "--nodaemon", "--pidfile="]


def listening_options(api: int, exchange: int, events: int) -> dict[str, str]:
    """Return the options of a node that listens at these ports of 127.0.0.1."""
    ports = {"api": api, "exchange": exchange, "events": events}
    return {option: f"tcp:{port}:interface=127.0.0.1" for option, port in ports.items()}


def environment() -> dict[str, str]:
    """Return the variables of this process, with this checkout first on Python's path.

    Output is buffered, as it is for most users: without that, some errors of writing happen at other moments.
    """
    variables = {**os.environ, "PYTHONPATH": str(ROOT)}
    variables.pop("PYTHONUNBUFFERED", None)
    return variables
