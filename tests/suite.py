"""Runs the tests, a few jobs at a time, and ends with a line that says how many passed.

`python tests/suite.py` runs all that need nothing but Python: the unit tests and the simulation under trial, and the
tests with real processes under pytest. `python tests/suite.py outside` runs those that need other people's programs,
and those that take too long for every day. The status is 0 only where every job ended well and had tests that passed.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import IO

from attrs import Factory, define

ROOT = Path(__file__).parents[1]

#: For two cores: one job that computes and takes what the others leave, and three with real processes, which mostly
#: wait, and use a quarter of a core each.
JOBS_AT_A_TIME = 4

#: How much less a job that computes gets of a busy core (nice): others wait for processes, with limits of time.
COMPUTING_NICENESS = 10

#: How many runners share the files with real processes, and how many those that need more time: small shares for an
#: even end, but each of them takes two seconds of the processor to begin.
RUNNERS = 9
RUNNERS_OUTSIDE = 13

#: Files that take longer than their length suggests, and so have a runner of their own, which begins first. Those that
#: compute for most of their time come last, so that the others, which have limits of time, do not run beside them.
LONG = ["test_limits.py", "test_failures.py"]
LONG_OUTSIDE = ["test_clients.py", "test_documents.py", "test_faults.py", "test_openapi.py", "test_many.py"]

#: A job that takes longer hangs.
JOB_S_MAX = 1500

LOOK_S = 0.1

#: The status of pytest where it was told to leave out all tests of a file.
ALL_DESELECTED = 5

# What the last line of either runner says: "FAILED (failures=1, successes=7)", "=== 1 failed, 7 passed in 0.5s ===".
PASSED = re.compile(r"successes=(\d+)|(\d+) passed")
FAILED = re.compile(r"(?:failures|errors|unexpectedSuccesses)=(\d+)|(\d+) (?:failed|error)")


@define
class Job:
    """One runner on some of the tests."""

    name: str
    arguments: Sequence[str | Path]
    variables: Mapping[str, str] = Factory(dict)
    niceness: int = 0
    output: IO[str] = Factory(lambda: tempfile.TemporaryFile("w+"))  # noqa: SIM115 - open as long as the job
    process: subprocess.Popen[str] | None = None
    started_at: float = 0.0
    took_s: float = 0.0
    cpu_s: float = 0.0

    def start(self) -> None:
        self.started_at = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", *self.arguments],
            cwd=ROOT,
            env={**_environment(), **self.variables},
            stdout=self.output,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=partial(os.nice, self.niceness),  # noqa: PLW1509 - no threads here
        )

    def runs(self) -> bool:
        """Whether it is under way; one that hangs is ended."""
        if self.process is None:
            return False
        if time.monotonic() - self.started_at > JOB_S_MAX:
            self.process.kill()
        return not self._reaped(os.WNOHANG)

    def _reaped(self, flags: int) -> bool:
        """Return whether the process has ended; note its status and the CPU time of it and of what it waited for."""
        if self.process is None or self.process.returncode is not None:
            return True
        pid, status, used = os.wait4(self.process.pid, flags)
        if pid == 0:
            return False
        self.process.returncode = os.waitstatus_to_exitcode(status)
        self.took_s = time.monotonic() - self.started_at
        self.cpu_s = used.ru_utime + used.ru_stime
        return True

    def end(self) -> None:
        """As Ctrl-C would, for after that pytest ends the processes which it has started."""
        if self.runs() and self.process:
            self.process.send_signal(signal.SIGINT)

    def report(self) -> tuple[int, int]:
        """Print what it said; returns how many tests passed and failed. A job without any that passed has failed."""
        self.output.seek(0)
        text = self.output.read().rstrip()
        print(f"{text}\n--- {self.name}: {self.took_s:.0f} s, {self.cpu_s:.0f} s of CPU\n", flush=True)
        last = text.rpartition("\n")[2]
        passed, failed = _sum(PASSED, last), _sum(FAILED, last)
        status = None if self.process is None else self.process.returncode
        if status == ALL_DESELECTED and "deselected" in last:
            return 0, 0
        return passed, failed or (0 if passed and status == 0 else 1)


def _environment() -> dict[str, str]:
    """That of this process, but with bytecode: compiling all of bender for each process is a sixth of what it takes."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def _sum(pattern: re.Pattern[str], line: str) -> int:
    return sum(int(number) for groups in pattern.findall(line) for number in groups if number)


def jobs() -> list[Job]:
    """Return what needs nothing but Python; what takes longest comes first."""
    return [
        Job("unit tests", ["tests.unit", *_unit_tests()], niceness=COMPUTING_NICENESS),
        *_with_processes("not outside and not slow", RUNNERS, LONG),
        Job("simulation", ["tests.unit", "tests.simulation"]),
    ]


def outside() -> list[Job]:
    """Return those that are slow, or run other people's programs; and the tests that do more when they have time."""
    thorough = [path for path in sorted((ROOT / "tests").rglob("test_*.py")) if "import effort" in path.read_text()]
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in thorough]
    return [
        Job("thorough tests", ["tests.unit", *names], {"BENDER_TESTS": "thorough"}, niceness=COMPUTING_NICENESS),
        *_with_processes("outside or slow", RUNNERS_OUTSIDE, LONG_OUTSIDE),
        Job("tests/page", ["pytest", "-q", "-m", "outside or slow", "tests/page"]),
    ]


def _with_processes(marks: str, runners: int, long: Sequence[str]) -> list[Job]:
    """Return some runners, with about as much to do for each but those of the files that take long."""
    paths = sorted((ROOT / "tests/e2e").glob("test_*.py"), key=_size, reverse=True)
    shares: list[list[Path]] = [[] for _ in range(runners - len(long))]
    for path in paths:
        if path.name not in long:
            min(shares, key=lambda share: sum(map(_size, share))).append(path)
    shares = [*([ROOT / "tests/e2e" / name] for name in long), *shares]
    return [Job(", ".join(each.name for each in share), ["pytest", "-q", "-m", marks, *share]) for share in shares]


@cache
def _size(path: Path) -> int:
    """Return about how much there is to do: the bytes of the tests, and of the pages that are tests themselves."""
    pages = (ROOT / "docs").glob("*.md") if path.name == "test_documents.py" else ()
    return sum(each.stat().st_size for each in (path, *pages))


def _unit_tests() -> Iterator[str]:
    """All of `tests` but the folders that are jobs of their own."""
    for path in sorted((ROOT / "tests").iterdir()):
        is_package = (path / "__init__.py").exists() and path.name != "simulation"
        if is_package or path.match("test_*.py"):
            yield f"tests.{path.stem}"


def run(waiting: list[Job]) -> tuple[int, int]:
    """Run them all; returns how many tests passed and failed."""
    under_way: list[Job] = []
    passed = failed = 0
    try:
        while waiting or under_way:
            while waiting and len(under_way) < JOBS_AT_A_TIME:
                under_way.append(waiting.pop(0))
                under_way[-1].start()
            for job in [job for job in under_way if not job.runs()]:
                under_way.remove(job)
                more_passed, more_failed = job.report()
                passed += more_passed
                failed += more_failed
            time.sleep(LOOK_S)
    finally:
        for job in under_way:
            job.end()
    return passed, failed


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with suppress(KeyboardInterrupt):
        passed, failed = run(outside() if sys.argv[1:] == ["outside"] else jobs())
        print(f"{passed} passed, {failed} failed" if failed else f"{passed} passed")
        sys.exit(1 if failed else 0)
    sys.exit(130)
