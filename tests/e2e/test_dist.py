"""`make dist` makes the same bytes of the same commit, wherever and whenever it runs."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.e2e.nodes import PATIENCE_S
from tests.e2e.source_tree import copy_sources
from tests.twistd_command import ROOT

#: The date of the commit: even, because a wheel has times of every second second.
COMMITTED_AT = 1_790_000_000

#: A time at which all files of one checkout were last changed.
CHANGED_AT = 1_700_000_001

#: With an author, because the machine may not have one.
GIT = ["git", "-c", "user.name=Someone", "-c", "user.email=someone@example.org"]


def run(command: list[str], folder: Path, umask: int, variables: Mapping[str, str] | None = None) -> None:
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **(variables or {})},
        umask=umask,
        text=True,
        capture_output=True,
        timeout=4 * PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def committed(folder: Path) -> None:
    """Make a repository of one commit with the files of this checkout."""
    copy_sources(folder)
    date = {"GIT_AUTHOR_DATE": f"{COMMITTED_AT} +0000", "GIT_COMMITTER_DATE": f"{COMMITTED_AT} +0000"}
    for arguments in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "All files"]):
        run([*GIT, *arguments], folder, 0o022, date)


def built(folder: Path, umask: int, variables: Mapping[str, str]) -> dict[str, str]:
    """Return the SHA-256 of each file that `make dist` leaves in `dist`, with the tools of this environment."""
    tools = f"BIN={Path(sys.executable).parent}"
    run(["make", "--old-file=.venv/ready-dev", "dist", tools], folder, umask, variables)
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (folder / "dist").iterdir()}


def another_day() -> dict[str, str]:
    """Return variables with which programs believe that it is more than a year later, in another place."""
    places = [*Path("/usr/lib").glob("*/faketime"), *(ROOT / ".deps/debian/usr/lib").glob("*/faketime")]
    return {"LD_PRELOAD": str(places[0] / "libfaketime.so.1"), "FAKETIME": "+400d", "TZ": "Pacific/Auckland"}


@pytest.mark.outside
def test_packages_of_one_commit_are_identical(tmp_path: Path) -> None:
    """Neither the folder, the owner's umask, the times of the files nor the clock is in them."""
    first, second = tmp_path / "first", tmp_path / "another folder" / "second"
    committed(first)
    second.parent.mkdir()
    run([*GIT, "clone", "--quiet", str(first), str(second)], tmp_path, 0o077)
    for path in second.rglob("*"):
        os.utime(path, (CHANGED_AT, CHANGED_AT))
    packages = built(first, 0o022, {"TZ": "UTC"})
    assert len(packages) == 2
    assert built(second, 0o077, another_day()) == packages

    (source,) = first.glob("dist/*.tar.gz")
    with tarfile.open(source) as archive:
        assert {(each.mtime, each.uid, each.gid, each.uname) for each in archive} == {(COMMITTED_AT, 0, 0, "")}
        assert {each.mode for each in archive} == {0o644, 0o755}
    (wheel,) = first.glob("dist/*.whl")
    with zipfile.ZipFile(wheel) as files:
        dates = {datetime(*each.date_time, tzinfo=UTC).timestamp() for each in files.infolist()}
    assert dates == {COMMITTED_AT}
