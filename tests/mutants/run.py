"""Trials of mutants: a forked child runs the tests that execute the changed code, until one fails.

cosmic-ray starts a process for each mutant, which costs more than its tests. mutmut 3 forks too, but runs only
pytest, and neither deletes statements nor changes anything outside functions.
"""

from __future__ import annotations

import ast
import gc
import importlib
import json
import os
import re
import resource
import signal
import sys
import unittest
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cache
from importlib.machinery import SourceFileLoader
from pathlib import Path
from time import process_time
from types import CodeType, FunctionType

import coverage
import hypothesis
from attrs import frozen

from tests.mutants.operators import Mutant, mutants

ROOT = Path(__file__).parents[2]
CORE = ROOT / "bender/core"

#: The order of the tests. Tests of the shells are left out: they execute all of the core, and check little of it.
STAGES = ("unit", "scenarios", "seeds")

#: The fast ones of the first seeds.
SEEDS = (1, 3, 5, 6, 7, 9, 11, 12)

#: Property tests that take longer than all other tests together. They run last, and only for the module that they
#: test.
LONG = {
    "ledger": "tests.core.test_ledger_copies.CopiesTests.test_any_exchange_of_deltas",
    "replica": "tests.core.test_replica.LifeTests.test_any_life",
}
LONG_S = 30.0

#: Limits of a child: memory, and the CPU time of one test, in seconds and in multiples of the test's usual time.
TEST_S_MAX = 1.0
TEST_TIMES_MAX = 2
MEMORY_BYTES_MAX = 4 * 1024**3


@frozen
class Trial:
    """A test, its CPU time, and the lines of the core that it executes, as `module:line`."""

    name: str
    stage: str
    seconds: float
    runs: frozenset[str]


@frozen
class Outcome:
    """The outcome of a mutant: the stage of the failed test, `timeout` or `survived`; and the last test that ran."""

    verdict: str
    test: str = ""


# The tests.


def prepare() -> None:
    """Import all modules once, and make property tests always try the same examples, without shrinking."""
    phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
    hypothesis.settings.register_profile("mutants", derandomize=True, database=None, deadline=None, phases=phases)
    hypothesis.settings.load_profile("mutants")
    importlib.import_module("tests.simulation.seeds")
    _names()
    _functions()
    gc.freeze()  # Otherwise the garbage collector of each child would copy all objects that it visits.


@cache
def _names() -> tuple[tuple[str, str], ...]:
    """Yield all tests, each with its stage."""
    load = unittest.defaultTestLoader.loadTestsFromName
    modules = [("unit", f"tests.core.{path.stem}") for path in sorted((ROOT / "tests/core").glob("test_*.py"))]
    modules += [("scenarios", "tests.simulation.test_scenarios")]
    found = [(stage, case.id()) for stage, module in modules for case in _cases(load(module))]
    seeds = [("seeds", f"seed {seed}") for seed in SEEDS]
    return (*(each for each in dict.fromkeys(found) if each[1] not in LONG.values()), *seeds)


def _cases(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    for each in suite:
        if isinstance(each, unittest.TestSuite):
            yield from _cases(each)
        else:
            yield each


def passes(name: str) -> bool:
    """Run one test."""
    if name.startswith("seed "):
        seed = int(name.removeprefix("seed "))
        return not importlib.import_module("tests.simulation.seeds").simulate(seed, hard=seed % 2 == 1).broken
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromName(name).run(result)
    return result.wasSuccessful() and result.testsRun == 1


def trials(measured: Path) -> list[Trial]:
    """Return all useful tests. The lines that they execute are read from a file, and measured for new tests."""
    known = _read(measured)
    names = [(stage, name) for stage, name in _names() if name not in known]
    with measured.open("a", encoding="utf-8") as file:
        _in_child(lambda tell: _measure(names, tell), lambda line: print(line, file=file, flush=True))
    known = _read(measured)
    return [known[name] for _, name in _names()]


def _read(measured: Path) -> dict[str, Trial]:
    lines = measured.read_text("utf-8").splitlines() if measured.exists() else []
    return {name: Trial(name, stage, seconds, frozenset(runs)) for name, stage, seconds, runs in map(json.loads, lines)}


def _measure(names: list[tuple[str, str]], tell: Callable[[str], None]) -> bool:
    """Run each test by itself and record the lines of the core that it executes.

    A test that fails without a mutant gets no lines.
    """
    for stage, name in names:
        measuring = coverage.Coverage(data_file=None, config_file=False, include=[f"{CORE}/*"])
        began_at = process_time()
        with measuring.collect():
            ok = passes(name)
        data = measuring.get_data()
        runs = [f"{Path(path).stem}:{line}" for path in data.measured_files() for line in data.lines(path) or ()]
        tell(json.dumps([name, stage, process_time() - began_at, runs if ok else []]))
    return True


def chosen(mutant: Mutant, trials: list[Trial]) -> list[Trial]:
    """Return the tests that execute the changed statement, in order: first those of its module.

    For a change outside functions, return the tests of its module, and those that execute any line of the modules
    that name it.
    """
    own = f"tests.core.test_{mutant.module}."
    if mutant.in_function:
        wanted = {f"{mutant.module}:{line}" for line in mutant.statement}
        found = [trial for trial in trials if not wanted.isdisjoint(trial.runs)]
    else:
        word = re.compile(rf"\b{mutant.scope.partition('.')[0]}\b")
        modules = {path.stem for path in CORE.glob("*.py") if word.search(path.read_text("utf-8"))} | {mutant.module}
        named = {trial.name for trial in trials if any(line.partition(":")[0] in modules for line in trial.runs)}
        found = [trial for trial in trials if trial.name in named or trial.name.startswith(own)]
    found.sort(key=lambda trial: (STAGES.index(trial.stage), not trial.name.startswith(own), trial.seconds))
    return found + [
        Trial(name, "unit", LONG_S, frozenset()) for module, name in LONG.items() if module == mutant.module
    ]


# Trying a mutant.


def mutants_of(module: str) -> list[Mutant]:
    return mutants(module, ast.parse((CORE / f"{module}.py").read_text("utf-8")))


def attempt(mutant: Mutant, trials: list[Trial]) -> Outcome:
    """Run these tests on a mutant, in this order."""

    def body(tell: Callable[[str], None]) -> bool:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
        _mutate(mutant)
        for trial in trials:
            tell(trial.name)
            signal.setitimer(signal.ITIMER_VIRTUAL, TEST_S_MAX + TEST_TIMES_MAX * trial.seconds)
            if not passes(trial.name):
                return False
        return True

    reported: list[str] = []
    status = _in_child(body, reported.append)
    last = reported[-1] if reported else "import"
    if os.WIFSIGNALED(status):
        return Outcome("timeout", last)
    if status == 0:
        return Outcome("survived")
    return Outcome(next((trial.stage for trial in trials if trial.name == last), "unit"), last)


def _in_child(body: Callable[[Callable[[str], None]], bool], report: Callable[[str], object]) -> int:
    """Run `body` in a forked child, and pass on the lines that it reports.

    Return the child's exit status, 0 for True.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.dup2(nowhere, 1)
            os.dup2(nowhere, 2)
            with os.fdopen(writing, "w", encoding="utf-8") as lines:
                status = 0 if body(lambda line: print(line, file=lines, flush=True)) else 1
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as lines:
        for line in lines:
            report(line.rstrip())
    return os.waitpid(child, 0)[1]


def _mutate(mutant: Mutant) -> None:
    """Change the loaded functions for all their importers. If there are none, import all modules again."""
    code = compile(mutant.apply(), str(CORE / f"{mutant.module}.py"), "exec")
    found = [(each, function) for each in _codes(code) for function in _functions().get(_origin(each), ())]
    changed = [(each, function) for each, function in found if each.co_qualname == mutant.scope]
    if not (mutant.in_function and changed) or any(each.co_freevars != f.__code__.co_freevars for each, f in changed):
        _import_anew(f"bender.core.{mutant.module}", code)
    for each, function in changed:
        function.__code__ = each


def _codes(code: CodeType) -> Iterator[CodeType]:
    """Yield all code objects in a code object."""
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield each
            yield from _codes(each)


def _origin(code: CodeType) -> tuple[str, str, int]:
    return code.co_filename, code.co_qualname, code.co_firstlineno


@cache
def _functions() -> dict[tuple[str, str, int], list[FunctionType]]:
    """Return the loaded functions, including all kinds of methods, by their origin."""
    found = defaultdict(list)
    for each in gc.get_objects():
        if isinstance(each, FunctionType):
            found[_origin(each.__code__)].append(each)
    return found


def _import_anew(changed: str, code: CodeType) -> None:
    """Unload all modules of the project except those of this tool, and load `code` for one of them."""
    for name in [*sys.modules]:
        if name.partition(".")[0] in ("bender", "tests") and not name.startswith("tests.mutants"):
            del sys.modules[name]
    original = SourceFileLoader.get_code

    def get_code(loader: SourceFileLoader, name: str) -> CodeType | None:
        return code if name == changed else original(loader, name)

    setattr(SourceFileLoader, "get_code", get_code)  # noqa: B010 - mypy refuses to assign a method
    importlib.import_module(changed)
