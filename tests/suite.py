"""Runs the tests, a few jobs at a time, and prints the number of passed tests at the end.

`python tests/suite.py` runs the tests that need only Python: the unit tests and the simulation under trial, and the
tests with real processes under pytest. `python tests/suite.py outside` runs the tests that need other programs, and
slow tests. The exit status is 0 only if every job succeeded and had tests that passed.
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

#: For two cores: one job that computes and uses the rest of the processor time, and three jobs with real processes,
#: which mostly wait and use a quarter of a core each.
JOBS_AT_A_TIME = 4

#: The niceness of a job that computes, because the other jobs have time limits and need the processor first.
COMPUTING_NICENESS = 10

#: The number of runners that share the files with real processes, and those of `outside`. Small shares let all runners
#: end at about the same time, but each runner needs two seconds of processor time to start.
RUNNERS = 9
RUNNERS_OUTSIDE = 13

#: Files that take longer than their length suggests. They have a runner of their own, which starts first. Files that
#: mostly compute are last, so that tests with time limits do not run at the same time.
LONG = ["test_limits.py", "test_failures.py"]
LONG_OUTSIDE = ["test_clients.py", "test_documents.py", "test_faults.py", "test_openapi.py", "test_many.py"]

#: Time limit for a job.
JOB_S_MAX = 1500

LOOK_S = 0.1

#: The status of pytest if all tests of a file are deselected.
ALL_DESELECTED = 5

# Patterns for the last line of either runner: "FAILED (failures=1, successes=7)", "=== 1 failed, 7 passed in 0.5s ===".
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
        """Return True while the job runs. A job that exceeds its time limit is ended."""
        if self.process is None:
            return False
        if time.monotonic() - self.started_at > JOB_S_MAX:
            self.process.kill()
        return not self._reaped(os.WNOHANG)

    def _reaped(self, flags: int) -> bool:
        """Return True if the process has ended; note its status, and its CPU time with that of its child processes."""
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
        """End the job like Ctrl-C, after which pytest ends the processes that it has started."""
        if self.runs() and self.process:
            self.process.send_signal(signal.SIGINT)

    def report(self) -> tuple[int, int]:
        """Print the output; return the numbers of passed and failed tests. A job without a passed test has failed."""
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
    """Return the environment of this process, but with bytecode, which saves a sixth of the time of each process."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def _sum(pattern: re.Pattern[str], line: str) -> int:
    return sum(int(number) for groups in pattern.findall(line) for number in groups if number)


def jobs() -> list[Job]:
    """Return the jobs that need only Python, the longest first."""
    return [
        Job("unit tests", ["tests.unit", *_unit_tests()], niceness=COMPUTING_NICENESS),
        *_with_processes("not outside and not slow", RUNNERS, LONG),
        Job("simulation", ["tests.unit", "tests.simulation"]),
    ]


def outside() -> list[Job]:
    """Return the jobs that are slow or need other programs, and the tests that do more in a thorough run."""
    thorough = [path for path in sorted((ROOT / "tests").rglob("test_*.py")) if "import effort" in path.read_text()]
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in thorough]
    return [
        Job("thorough tests", ["tests.unit", *names], {"BENDER_TESTS": "thorough"}, niceness=COMPUTING_NICENESS),
        *_with_processes("outside or slow", RUNNERS_OUTSIDE, LONG_OUTSIDE),
        Job("tests/page", ["pytest", "-q", "-m", "outside or slow", "tests/page"]),
    ]


def _with_processes(marks: str, runners: int, long: Sequence[str]) -> list[Job]:
    """Return runners with about the same amount of work, except those of the long files."""
    paths = sorted((ROOT / "tests/e2e").glob("test_*.py"), key=_size, reverse=True)
    shares: list[list[Path]] = [[] for _ in range(runners - len(long))]
    for path in paths:
        if path.name not in long:
            min(shares, key=lambda share: sum(map(_size, share))).append(path)
    shares = [*([ROOT / "tests/e2e" / name] for name in long), *shares]
    return [Job(", ".join(each.name for each in share), ["pytest", "-q", "-m", marks, *share]) for share in shares]


@cache
def _size(path: Path) -> int:
    """Return an estimate of the work in a file: its bytes, and those of the pages that it runs."""
    pages = (ROOT / "docs").glob("*.md") if path.name == "test_documents.py" else ()
    return sum(each.stat().st_size for each in (path, *pages))


def _unit_tests() -> Iterator[str]:
    """Yield the names of all unit tests. Folders that have jobs of their own are left out."""
    for path in sorted((ROOT / "tests").iterdir()):
        is_package = (path / "__init__.py").exists() and path.name != "simulation"
        if is_package or path.match("test_*.py"):
            yield f"tests.{path.stem}"


def run(waiting: list[Job]) -> tuple[int, int]:
    """Run all jobs; return the numbers of passed and failed tests."""
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
