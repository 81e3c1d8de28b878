"""Copies of the files that packages are made of."""

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
    """Copy what packages are made of to a folder that does not exist, without what programs have left there."""
    ignored = shutil.ignore_patterns("__pycache__", "dropin.cache")
    for name in FOLDERS:
        shutil.copytree(ROOT / name, place / name, ignore=ignored)
    for name in FILES:
        shutil.copy(ROOT / name, place)
