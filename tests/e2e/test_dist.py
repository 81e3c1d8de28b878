"""`make dist` and `make sbom` make identical files from the same commit, at any place and time."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from bender import __version__
from tests.e2e.nodes import PATIENCE_S
from tests.e2e.source_tree import copy_sources
from tests.installed import pinned_versions
from tests.twistd_command import ROOT

pytestmark = pytest.mark.outside

#: The date of the commit: even, because the times in a wheel are even.
COMMITTED_AT = 1_790_000_000

#: A time at which all files of one checkout were last changed.
CHANGED_AT = 1_700_000_001

#: Git with an author, because the machine may have none.
GIT = ["git", "-c", "user.name=Someone", "-c", "user.email=someone@example.org"]


def run(
    command: list[str], folder: Path, umask: int = 0o022, variables: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **(variables or {})},
        umask=umask,
        text=True,
        capture_output=True,
        timeout=4 * PATIENCE_S,
        check=False,
    )


def succeed(command: list[str], folder: Path, umask: int = 0o022, variables: Mapping[str, str] | None = None) -> None:
    done = run(command, folder, umask, variables)
    assert done.returncode == 0, done.stdout + done.stderr


def make(target: str, *ready: str) -> list[str]:
    """Return a command for `make` with the tools of this environment, which does not remake the targets in `ready`."""
    tools = f"BIN={Path(sys.executable).parent}"
    return [
        "make",
        "--no-print-directory",
        *(f"--old-file={each}" for each in (".venv/ready-dev", *ready)),
        target,
        tools,
    ]


def digests(paths: list[Path]) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def another_day() -> dict[str, str]:
    """Return variables that change a program's clock by more than a year, and its time zone."""
    places = [*Path("/usr/lib").glob("*/faketime"), *(ROOT / ".deps/debian/usr/lib").glob("*/faketime")]
    return {"LD_PRELOAD": str(places[0] / "libfaketime.so.1"), "FAKETIME": "+400d", "TZ": "Pacific/Auckland"}


@pytest.fixture(scope="module")
def checkouts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two checkouts of a repository with one commit, in which `make dist` has run.

    The second one was made and built with another umask, on another day, and its files have other times.
    """
    place = tmp_path_factory.mktemp("checkouts")
    first, second = place / "first", place / "another folder" / "second"
    copy_sources(first)
    date = {"GIT_AUTHOR_DATE": f"{COMMITTED_AT} +0000", "GIT_COMMITTER_DATE": f"{COMMITTED_AT} +0000"}
    for arguments in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "All files"]):
        succeed([*GIT, *arguments], first, variables=date)
    second.parent.mkdir()
    succeed([*GIT, "clone", "--quiet", str(first), str(second)], place, 0o077)
    for path in second.rglob("*"):
        os.utime(path, (CHANGED_AT, CHANGED_AT))
    succeed(make("dist"), first)
    succeed(make("dist"), second, 0o077, another_day())
    return first, second


def test_packages_of_one_commit_are_identical(checkouts: tuple[Path, Path]) -> None:
    """Packages contain neither the owners, permissions and times of the files, nor the time of the build."""
    first, second = ([*folder.glob("dist/*")] for folder in checkouts)
    assert len(first) == 2
    assert digests(first) == digests(second)
    (source,) = (path for path in first if path.name.endswith(".tar.gz"))
    with tarfile.open(source) as archive:
        assert {(each.mtime, each.uid, each.gid, each.uname) for each in archive} == {(COMMITTED_AT, 0, 0, "")}
        assert {each.mode for each in archive} == {0o644, 0o755}
    (wheel,) = (path for path in first if path.suffix == ".whl")
    with zipfile.ZipFile(wheel) as files:
        dates = {datetime(*each.date_time, tzinfo=UTC).timestamp() for each in files.infolist()}
    assert dates == {COMMITTED_AT}


def test_the_sbom_has_what_users_install(checkouts: tuple[Path, Path]) -> None:
    """The SBOM is identical in both checkouts, and has the versions of constraints.txt, but no contributors' tools."""
    first, second = checkouts
    succeed(make("sbom", "dist"), first)
    succeed(make("sbom", "dist"), second, 0o077, {"TZ": "Pacific/Auckland"})
    (path,) = first.glob("build/*.cdx.json")
    assert path.name == f"bender-{__version__}.cdx.json"
    assert digests([path]) == digests([*second.glob("build/*.cdx.json")])

    sbom = json.loads(path.read_text("utf-8"))
    main = sbom["metadata"]["component"]
    assert (main["name"], main["version"]) == ("bender", __version__)
    assert sbom["metadata"]["timestamp"] == datetime.fromtimestamp(COMMITTED_AT, UTC).isoformat()
    names = {each["bom-ref"]: canonicalize_name(each["name"]) for each in sbom["components"]}
    (needed,) = (each["dependsOn"] for each in sbom["dependencies"] if each["ref"] == main["bom-ref"])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert {names[each] for each in needed} == {
        canonicalize_name(Requirement(each).name) for each in project["dependencies"]
    }
    pinned = pinned_versions((ROOT / "constraints.txt").read_text("utf-8"))
    for each in sbom["components"]:
        assert each["version"] == str(pinned[canonicalize_name(each["name"])])
        assert each["licenses"], each["name"]
    assert not {"pip", "pytest", "uv"} & {*names.values()}


def test_an_audit_without_the_database_fails(checkouts: tuple[Path, Path]) -> None:
    """An audit without a network reports that the packages were not audited, and what to do."""
    nowhere = {"HTTPS_PROXY": "http://127.0.0.1:1", "https_proxy": "http://127.0.0.1:1"}
    done = run(make("audit", "check-installed"), checkouts[0], variables=nowhere)
    assert done.returncode != 0
    assert "The packages are not audited" in done.stderr
    assert "run make audit where the network reaches it." in done.stderr
