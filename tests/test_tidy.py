"""Rules of the project that its source code shows without running it."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path

from twisted.application import service
from twisted.internet import base, interfaces, protocol
from twisted.protocols import basic, tls
from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase
from twisted.web import http, iweb, resource, server
from zope.interface.interface import InterfaceClass

ROOT = Path(__file__).parents[1]

#: The modules outside the core that it may import: values and pure functions. Adding a name is a design decision.
PURE = {
    "__future__",
    "array",
    "attrs",
    "bisect",
    "collections",
    "difflib",
    "fnmatch",
    "fractions",
    "functools",
    "hashlib",
    "heapq",
    "ipaddress",
    "itertools",
    "math",
}
PURE |= {"msgspec", "operator", "re", "typing", "zlib"}

#: The pure packages, and the additional modules that each may import.
CORES = {"bender.core": set[str](), "bender.haproxy.core": {"base64", "csv", "jinja2", "markupsafe"}}

#: The packages of bender that each package may import: only lower layers. `docs/architecture.md` has a drawing.
BELOW_NODE = {"core", "metrics", "net", "tls"}
BELOW_CLIENT = {"process", *BELOW_NODE}
LAYERS = {
    "daemon": {"api", "line_protocol", "exchange", "protocols", "node", "access", *BELOW_CLIENT},
    "cli": {"run", "deploy", "declared", "client", *BELOW_CLIENT},
    **{shell: {"node", "access", *BELOW_NODE} for shell in ("api", "line_protocol")},
    "protocols": {"api", "node", "access", *BELOW_NODE},
    "exchange": {"node", *BELOW_NODE},
    **{user: {"client", *BELOW_CLIENT} for user in ("haproxy", "run", "deploy", "declared")},
    "node": BELOW_NODE,
    "client": BELOW_CLIENT,
    "process": BELOW_NODE,
    "access": {"core"},
    "tls": set[str](),
    "core": set[str](),
    "metrics": set[str](),
    "net": {"tls"},
}

#: Packages for users of a registry. The daemon does not import them.
AROUND = {"cli", "client", "declared", "deploy", "haproxy", "run"}

#: Dependencies of these packages only, which the daemon never imports.
AROUND_NEEDS = {"click", "jinja2", "markupsafe", "rich", "tomli_w"}

#: Modules that start the reactor; all other modules get it as an argument.
STARTING = {"bender.daemon.tap", "bender.cli", "bender.haproxy.tap"}

FUNCTION_LINES_MAX = 50
FILE_LINES_MAX = 500

#: Words that do not describe anything.
VAGUE = {"data", "handler", "handlers", "helper", "helpers", "manager", "util", "utils"}


class Source:
    """A module of the project: its dotted name and its syntax tree.

    A module is parsed when a test first needs it. A million syntax nodes from the start would make each run of the
    garbage collector, in all other tests, half a second longer.
    """

    def __init__(self, path: Path) -> None:
        self.name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        self.text = path.read_text("utf-8")
        #: The module's package in bender; empty for modules directly in bender and outside of it.
        self.package = self.name.partition(".")[2].partition(".")[0] if self.name.startswith("bender.") else ""

    @cached_property
    def nodes(self) -> list[ast.AST]:
        return [*ast.walk(ast.parse(self.text))]

    @cached_property
    def functions(self) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
        return [node for node in self.nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]

    @cached_property
    def classes(self) -> list[ast.ClassDef]:
        return [node for node in self.nodes if isinstance(node, ast.ClassDef)]

    def within(self, package: str) -> bool:
        return f"{self.name}.".startswith(f"{package}.")

    def imports(self) -> Iterator[str]:
        """Yield the dotted names of all imported modules and names."""
        for node in self.nodes:
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield from (f"{node.module}.{alias.name}" for alias in node.names)

    def defined(self) -> Iterator[str]:
        """Yield the names of classes and functions, and of variables in the bodies of classes."""
        yield from (node.name for node in (*self.functions, *self.classes))
        for each in self.classes:
            yield from (
                t.id for s in each.body if isinstance(s, ast.Assign) for t in s.targets if isinstance(t, ast.Name)
            )

    def annotated(self) -> Iterator[tuple[str, ast.expr]]:
        """Yield the names and types of annotated arguments, attributes and variables."""
        for node in self.nodes:
            if isinstance(node, ast.arg) and node.annotation is not None:
                yield node.arg, node.annotation
            elif isinstance(node, ast.AnnAssign):
                yield ast.unparse(node.target).rpartition(".")[2], node.annotation


def sources(folder: str) -> list[Source]:
    return [Source(path) for path in sorted((ROOT / folder).rglob("*.py"))]


def called_by_twisted() -> set[str]:
    """Return all names in the Twisted modules that bender uses."""
    names = {"optFlags", "optParameters"}  # looked up only by name
    for module in (base, basic, http, interfaces, iweb, protocol, resource, server, service, tls, usage):
        for thing in vars(module).values():
            if isinstance(thing, InterfaceClass):
                names.update(thing.names(all=True))
            elif isinstance(thing, type):
                names.update(dir(thing))
    return names


BENDER = sources("bender")
TESTS = sources("tests")
E2E = [source for source in TESTS if source.within("tests.e2e") or source.within("tests.page")]
#: Modules that run real nodes outside of pytest, with the code of those tests.
RIG = [source for source in TESTS if source.within("tests.faults.rig") or source.name == "tests.faults.__main__"]
UNIT_TESTS = [source for source in TESTS if source not in E2E + RIG and source.name != "tests.suite"]


class TidyCase(SynchronousTestCase):
    def none(self, sources: list[Source], wrong: Callable[[Source], Iterator[str]]) -> None:
        """Assert that no source has a violation."""
        self.assertNotEqual(sources, [])
        self.assertEqual([f"{source.name}: {what}" for source in sources for what in wrong(source)], [])


class Layers(TidyCase):
    def test_the_cores_are_pure(self) -> None:
        """Pure modules import only values and functions, and have no input, output or waiting."""

        def impure(source: Source) -> Iterator[str]:
            (core,) = [core for core in CORES if source.within(core)]
            for name in source.imports():
                pure = name.split(".")[0] in PURE | CORES[core] or name.startswith("bender.core")
                if not pure and not name.startswith(f"{core}."):
                    yield f"imports {name}"
            for node in source.nodes:
                if isinstance(node, ast.Name) and node.id in ("open", "print", "input", "globals"):
                    yield f"uses {node.id}"
                if isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.Global):
                    yield f"line {node.lineno} is no pure function"

        self.none([source for source in BENDER if any(source.within(core) for core in CORES)], impure)

    def test_a_package_imports_only_from_those_below_it(self) -> None:
        """The shells of a node import neither each other nor the packages around the daemon."""

        def from_above(source: Source) -> Iterator[str]:
            package = source.package
            for name in source.imports():
                top, _, rest = name.partition(".")
                other = rest.partition(".")[0]
                if top == "bender" and other in LAYERS and other not in {package, *LAYERS[package]}:
                    yield f"imports {name}"

        self.none([source for source in BENDER if source.package], from_above)

    def test_a_protocol_knows_no_other(self) -> None:
        """Protocols do not import each other, so that each can be switched off; only their table imports all."""

        def of_others(source: Source) -> Iterator[str]:
            own = source.name.split(".")[2]
            for name in source.imports():
                if name.startswith("bender.protocols.") and name.split(".")[2] != own:
                    yield f"imports {name}"

        protocols = [source for source in BENDER if source.within("bender.protocols")]
        tables = {"bender.protocols", "bender.protocols.http"}
        self.none([source for source in protocols if source.name not in tables], of_others)

    def test_every_package_has_its_layer(self) -> None:
        """The package bender has no modules beside its packages."""
        self.assertEqual({source.package for source in BENDER}, {"", *LAYERS})
        self.assertEqual([source.name for source in BENDER if not source.package], ["bender"])

    def test_a_package_has_no_name_that_is_a_module_of_it(self) -> None:
        """An imported submodule would replace the name in the package."""

        def covered(source: Source) -> Iterator[str]:
            modules = {each.name.rpartition(".")[2] for each in BENDER if each.name.rpartition(".")[0] == source.name}
            imported = {name for name in source.imports() if name.rpartition(".")[0] != source.name}
            names = {name.rpartition(".")[2] for name in imported} | {each.name for each in source.functions}
            yield from (f"{name} is a module, too" for name in names & modules)

        packages = {source.name.rpartition(".")[0] for source in BENDER}
        self.none([source for source in BENDER if source.name in packages], covered)

    def test_the_daemon_does_not_need_what_others_are_made_with(self) -> None:
        """The daemon starts without the libraries of the command line and of templates."""

        def unneeded(source: Source) -> Iterator[str]:
            yield from (f"imports {name}" for name in source.imports() if name.partition(".")[0] in AROUND_NEEDS)

        self.none([source for source in BENDER if source.package not in AROUND], unneeded)

    def test_the_global_reactor_is_known_where_the_process_starts(self) -> None:
        """All other modules get the reactor as an argument."""

        def takes_the_reactor(source: Source) -> Iterator[str]:
            yield from (name for name in source.imports() if f"{name}.".startswith("twisted.internet.reactor."))

        others = [source for source in BENDER if not any(source.within(each) for each in STARTING)]
        self.none(others, takes_the_reactor)

    def test_the_plugin_does_not_make_a_package_of_twisted_s(self) -> None:
        """With an __init__.py in the folder, Twisted would not find the plugins."""
        plugins = sorted((ROOT / "twisted").rglob("*.py"))
        self.assertEqual([path.name for path in plugins], ["bender_haproxy_plugin.py", "bender_plugin.py"])
        self.assertLessEqual(max(len(path.read_text().splitlines()) for path in plugins), 8)


class Style(TidyCase):
    def test_names_are_camel_case_only_where_twisted_uses_them(self) -> None:
        """All names of bender's own are snake_case."""
        known = called_by_twisted()

        def camels(source: Source) -> Iterator[str]:
            yield from (name for name in source.defined() if re.match(r"_*[a-z]+[A-Z]", name) and name not in known)

        self.none(BENDER, camels)

    def test_no_name_is_vague(self) -> None:
        """No name is an empty word such as manager or util."""
        known = called_by_twisted()

        def vague(source: Source) -> Iterator[str]:
            for name in (*source.defined(), source.name.rpartition(".")[2]):
                words = {word.lower() for word in re.findall(r"[A-Z]?[a-z0-9]+", name)}
                if words & VAGUE and name not in known:
                    yield name

        self.none(BENDER, vague)

    def test_no_class_name_stands_for_two_things(self) -> None:
        """No two public classes have the same name. Private ones are read beside their use."""
        places = defaultdict(list)
        for source in BENDER:
            for each in source.classes:
                if not each.name.startswith("_"):
                    places[each.name].append(source.name)
        self.assertGreater(len(places), 100)
        self.assertEqual({name: modules for name, modules in places.items() if len(modules) > 1}, {})

    def test_a_reactor_has_a_type(self) -> None:
        """A reactor has the type `bender.net.reactor.Reactor` or a Twisted interface, and never `Any`."""

        def untyped(source: Source) -> Iterator[str]:
            for name, annotation in source.annotated():
                if name.strip("_").endswith(("reactor", "clock")) and "Any" in ast.unparse(annotation).split(" | "):
                    yield f"line {annotation.lineno}: {name}"

        self.none(BENDER, untyped)

    def test_functions_fit_a_screen(self) -> None:
        """No function is longer than the limit."""

        def long(source: Source) -> Iterator[str]:
            for node in source.functions:
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines > FUNCTION_LINES_MAX:
                    yield f"{node.name} has {lines} lines"

        self.none([*BENDER, *TESTS, *sources("demo")], long)

    def test_files_can_be_read_in_one_sitting(self) -> None:
        """No file is longer than the limit; split it by its subjects."""

        def long(source: Source) -> Iterator[str]:
            lines = source.text.count("\n")
            if lines > FILE_LINES_MAX:
                yield f"has {lines} lines"

        self.none([*BENDER, *TESTS, *sources("bench"), *sources("demo")], long)

    def test_every_module_says_what_it_is_for(self) -> None:
        """Each module has a docstring, except empty ones."""

        def silent(source: Source) -> Iterator[str]:
            if source.text.strip() and not ast.get_docstring(ast.parse(source.text)):
                yield "has no docstring"

        self.none([*BENDER, *TESTS, *sources("demo"), *sources("twisted")], silent)

    def test_what_is_caught_is_not_swallowed(self) -> None:
        """Code that catches any exception logs it, raises another one, or passes it to a Deferred."""

        def swallowing(source: Source) -> Iterator[str]:
            for node in source.nodes:
                if isinstance(node, ast.ExceptHandler) and _catches_all(node):
                    inside = [*ast.walk(node)]
                    logged = any(
                        isinstance(each, ast.Attribute) and each.attr in ("failure", "errback") for each in inside
                    )
                    if not logged and not any(isinstance(each, ast.Raise) for each in inside):
                        yield f"line {node.lineno}"

        self.none(BENDER, swallowing)


def _catches_all(node: ast.ExceptHandler) -> bool:
    return node.type is None or (isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException"))


class Tests(TidyCase):
    def test_tests_are_methods_of_cases(self) -> None:
        """Unit tests are methods, because trial does not run functions."""

        def functions(source: Source) -> Iterator[str]:
            methods = {method for each in source.classes for method in each.body}
            yield from (node.name for node in source.functions if node.name.startswith("test_") and node not in methods)

        self.none(UNIT_TESTS, functions)

    def test_e2e_tests_are_functions(self) -> None:
        """Tests for pytest are functions, because its fixtures do not work in test cases."""
        self.none(E2E, lambda source: (each.name for each in source.classes if each.name.endswith("TestCase")))

    def test_unit_tests_take_neither_time_nor_sockets(self) -> None:
        """Unit tests do not sleep, start processes, use the network or patch code."""
        banned = ("time.sleep", "socket", "subprocess", "twisted.internet.reactor", "unittest.mock")

        def banned_imports(source: Source) -> Iterator[str]:
            for name in source.imports():
                if any(f"{name}.".startswith(f"{each}.") for each in banned):
                    yield f"imports {name}"

        self.none(UNIT_TESTS, banned_imports)
