"""pyproject.toml names each package that bender imports, and constraints.txt names all packages with their versions."""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from twisted.trial.unittest import SynchronousTestCase

from tests.installed import CONSTRAINTS, differences, installed_packages, pinned_versions

ROOT = Path(__file__).parents[1]
TEXT = CONSTRAINTS.read_text("utf-8")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def environment(python: str) -> dict[str, str]:
    """Return the values that differ from those of the running Python."""
    return {"python_version": python, "python_full_version": f"{python}.5"}


def supported() -> list[str]:
    """Return the versions of Python that the classifiers name."""
    prefix = "Programming Language :: Python :: 3."
    return [f"3.{each.removeprefix(prefix)}" for each in PYPROJECT["project"]["classifiers"] if each.startswith(prefix)]


def direct() -> list[str]:
    """Return the requirements in pyproject.toml: those of bender, of all extras, and of the build."""
    project = PYPROJECT["project"]
    extras = [each for requirements in project["optional-dependencies"].values() for each in requirements]
    return [*project["dependencies"], *extras, *PYPROJECT["build-system"]["requires"]]


def transitive() -> Iterator[str]:
    """Yield the requirements, without extras, of each installed package that the file names."""
    pinned = pinned_versions(TEXT)
    for name, _ in installed_packages():
        if canonicalize_name(name) in pinned:
            yield from metadata.requires(name) or ()


def unmet(requirements: list[str], python: str) -> list[str]:
    """Return the requirements that no version in the file satisfies on a version of Python."""
    values = environment(python)
    pinned = pinned_versions(TEXT, values)
    missing = []
    for requirement in map(Requirement, requirements):
        version = pinned.get(canonicalize_name(requirement.name))
        applies = requirement.marker is None or requirement.marker.evaluate({"extra": "", **values})
        fits = version is not None and requirement.specifier.contains(version, prereleases=True)
        if applies and requirement.name != "bender" and not fits:
            missing.append(f"{requirement}, but {version} on Python {python}")
    return missing


def imported() -> set[str]:
    """Return the first part of the name of each module that bender imports from other packages."""
    names: set[str] = set()
    for path in (ROOT / "bender").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                names.update(each.name.partition(".")[0] for each in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.partition(".")[0])
    return names - sys.stdlib_module_names - {"bender"}


class Imports(SynchronousTestCase):
    def test_each_package_that_bender_imports_is_a_dependency(self) -> None:
        """Each imported package is a dependency of bender itself, because dependencies of others may disappear."""
        named = {canonicalize_name(Requirement(each).name) for each in PYPROJECT["project"]["dependencies"]}
        packages = metadata.packages_distributions()
        self.assertIn("twisted", imported())
        foreign = {name: {canonicalize_name(each) for each in packages[name]} for name in imported()}
        self.assertEqual({name: found for name, found in foreign.items() if not found & named}, {})


class File(SynchronousTestCase):
    def test_it_satisfies_every_requirement_in_pyproject(self) -> None:
        """The file satisfies pyproject.toml on each supported version of Python."""
        self.assertEqual(supported(), ["3.11", "3.12", "3.13"])
        for python in supported():
            self.assertEqual(unmet(direct(), python), [])

    def test_it_satisfies_every_requirement_of_an_installed_package(self) -> None:
        """Each requirement of an installed package is in the file, so all packages have an exact version."""
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        requirements = list(transitive())
        self.assertGreater(len(requirements), 50)
        self.assertEqual(unmet(requirements, python), [])


class Reading(SynchronousTestCase):
    def test_a_marker_chooses_the_version(self) -> None:
        """The marker of a line selects the version for an environment; names are normalized as in package indexes."""
        text = "# A comment\nA_b==1 ; python_version < '3.12'\n    # via c\na-b==2 ; python_version >= '3.12'\n"
        self.assertEqual(pinned_versions(text, environment("3.11")), {"a-b": Version("1")})
        self.assertEqual(pinned_versions(text, environment("3.13")), {"a-b": Version("2")})

    def test_a_range_is_an_error(self) -> None:
        """A line must name one exact version: a range, a wildcard and a name alone are errors."""
        for line in ("a>=1", "a", "a==1.*", "a==1,<2"):
            with self.assertRaisesRegex(ValueError, "exact version"):
                pinned_versions(line)

    def test_two_versions_for_one_environment_are_an_error(self) -> None:
        """Two versions of a package for the same environment raise an error."""
        with self.assertRaisesRegex(ValueError, "two versions of a"):
            pinned_versions("a==1\na==2")


class Comparison(SynchronousTestCase):
    def test_the_same_versions_do_not_differ(self) -> None:
        """Versions and names are compared in normalized form, and a pinned package may be missing."""
        self.assertEqual(list(differences({"a-b": Version("1.0"), "c": Version("2")}, [("A.b", "1.0.0")])), [])

    def test_another_version_and_another_package_differ(self) -> None:
        """Each sentence names the package and the installed version."""
        found = list(differences({"a": Version("1")}, [("a", "2"), ("evil", "3")]))
        self.assertEqual([each.split(",")[0] for each in found], ["a 2 is installed", "evil 3 is installed"])
