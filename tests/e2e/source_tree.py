"""Copies of the files from which packages are built."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.twistd_command import ROOT

FOLDERS = ("bender", "packaging", "twisted")
FILES = (
    ".gitignore",
    "LICENSE",
    "Makefile",
    "NEWS.md",
    "README.md",
    "SECURITY.md",
    "constraints.txt",
    "pyproject.toml",
)


def copy_sources(place: Path) -> None:
    """Copy the files of packages to a new folder, without files that programs have created."""
    ignored = shutil.ignore_patterns("__pycache__", "dropin.cache")
    for name in FOLDERS:
        shutil.copytree(ROOT / name, place / name, ignore=ignored)
    for name in FILES:
        shutil.copy(ROOT / name, place)
