"""Compares the packages of this environment with constraints.txt: `python -m tests.installed`.

The file has the exact version of each package that bender and its extras need, directly or not. An environment that
`make` or CI has set up has these versions and no other package.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"


def pinned_versions(text: str, environment: Mapping[str, str] | None = None) -> dict[str, Version]:
    """Return the version of each package that constraints name for an environment, by default the running Python's.

    Raises `ValueError` if a line does not name one exact version, or if two apply to the same package.
    """
    versions: dict[str, Version] = {}
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        pin = Requirement(line)
        name = canonicalize_name(pin.name)
        exact = [each.version for each in pin.specifier if each.operator == "=="]
        if len(exact) != 1 or len(pin.specifier) != 1 or "*" in exact[0]:
            raise ValueError(f"{line!r} does not name one exact version: run `make constraints`")
        if pin.marker and not pin.marker.evaluate(dict(environment or {})):
            continue
        if name in versions:
            raise ValueError(f"two versions of {name} apply to one environment: run `make constraints`")
        versions[name] = Version(exact[0])
    return versions


def differences(pinned: Mapping[str, Version], installed: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yield a sentence for each installed package, a name and a version, that the pinned versions do not have."""
    for name, version in sorted((canonicalize_name(name), version) for name, version in installed):
        if name not in pinned:
            yield f"{name} {version} is installed, but is not in constraints.txt: uninstall it, or run `make clean`."
        elif pinned[name] != Version(version):
            yield f"{name} {version} is installed, but constraints.txt has {pinned[name]}: run `make clean`."


def installed_packages() -> Iterator[tuple[str, str]]:
    """Yield name and version of each package in the folders of this environment, without bender itself."""
    folders = [path for path in sys.path if path.endswith("-packages")]
    for each in metadata.distributions(path=folders):
        if each.name != "bender":
            yield each.name, each.version


if __name__ == "__main__":
    found = list(differences(pinned_versions(CONSTRAINTS.read_text("utf-8")), installed_packages()))
    sys.exit("\n".join(found) or 0)
