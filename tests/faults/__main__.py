"""`python -m tests.faults --seeds 20 --from 1 --minutes 60`: real nodes under a nemesis, judged by the oracle.

Seeds run one after another until the last one, or until the time is over; a seed that has begun is finished. If a
seed breaks a promise, its history and logs are kept in a folder, whose name is printed, and the exit status is 1.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

from attrs import define, field

from tests.faults import facts
from tests.faults.judge.judge import Judge, Verdict
from tests.faults.plan import Plan, plan_of, upgrade_plan
from tests.faults.planted import DEFECTS
from tests.faults.rig.network import Missing
from tests.faults.rig.nodes import NotReadyInTime
from tests.faults.rig.seed import Recorded, Seed
from tests.simulation.delays import delay_table
from tests.simulation.oracle.history import Broken

#: The command in which a user without privileges runs this program, to make namespaces and mount file systems.
UNSHARED = ["unshare", "--user", "--map-root-user", "--net", "--mount", "--"]

#: The largest number of broken promises that is printed for a seed.
PRINTED = 5


def main(arguments: list[str]) -> int:
    options = _options(arguments)
    if options.judge:
        return _judge_again(options.judge)
    plans = [_plan(seed, options) for seed in range(options.first, options.first + options.seeds)]
    if options.plan:
        for plan in plans:
            print("\n".join(plan.lines()))
        return 0
    if os.geteuid() and not options.unshared:
        command = [*UNSHARED, "sh", "-c", 'mount -t tmpfs tmpfs /run && exec "$@"', "sh", sys.executable]
        os.execvp(command[0], [*command, "-m", "tests.faults", "--unshared", *arguments])
    try:
        return _run_defects(options.promise) if options.defects else _run(plans, options.minutes * 60)
    except Missing as missing:
        print(missing, file=sys.stderr)
        return 1


def _options(arguments: list[str]) -> Namespace:
    parser = ArgumentParser(prog="python -m tests.faults", description="Real nodes under a nemesis, with an oracle.")
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="how many seeds (5)")
    parser.add_argument("--from", type=int, default=0, metavar="N", dest="first", help="the first seed (0)")
    parser.add_argument("--minutes", type=float, default=1e9, metavar="N", help="begin no seed after this time")
    parser.add_argument("--faults", type=float, default=45.0, metavar="S", help="seconds of faults in a seed (45)")
    parser.add_argument("--interval", type=float, default=0.5, metavar="S", help="seconds between rounds (0.5)")
    parser.add_argument("--plan", action="store_true", help="print the plans of the seeds, and run nothing")
    parser.add_argument("--upgrade", action="store_true", help="upgrades from the previous release, and nothing else")
    parser.add_argument("--no-previous", action="store_true", help="no node runs the previous release")
    parser.add_argument("--defects", action="store_true", help="plant defects, and print whether the judge finds them")
    parser.add_argument("--promise", default="", metavar="PN", help="with --defects: only those of this promise")
    parser.add_argument("--judge", type=Path, metavar="FOLDER", help="judge a history that was kept")
    parser.add_argument("--unshared", action="store_true", help="do not make namespaces of users")
    return parser.parse_args(arguments)


def _plan(seed: int, options: Namespace) -> Plan:
    if options.upgrade:
        return upgrade_plan(seed, faults_s=options.faults, interval_s=options.interval)
    return plan_of(seed, faults_s=options.faults, interval_s=options.interval, previous=not options.no_previous)


@define
class Summary:
    """The figures of all seeds together."""

    seeds: int = 0
    failed: int = 0
    faults: Counter[str] = field(factory=Counter)
    counts: Counter[str] = field(factory=Counter)
    delays: defaultdict[str, list[float]] = field(factory=lambda: defaultdict(list))
    waits: list[float] = field(factory=list)
    worst_late_s: float = 0.0

    def add(self, verdict: Verdict, faults: Counter[str]) -> None:
        self.seeds += 1
        self.failed += bool(verdict.broken)
        self.faults += faults
        self.counts += verdict.counts
        self.waits += verdict.waits
        self.worst_late_s = max(self.worst_late_s, verdict.worst_late_s)
        for delay in verdict.delays:
            self.delays[delay.case].append(delay.intervals)

    def print(self, seconds: float) -> None:
        print(f"\n{self.seeds} seeds, {self.failed} with a broken promise, in {seconds / 60:.1f} min")
        print("Faults: " + ", ".join(f"{count} {kind}" for kind, count in sorted(self.faults.items())))
        print(", ".join(f"{count:,} {what}" for what, count in sorted(self.counts.items())))
        print(f"A process waited for a processor for {self.worst_late_s:.3f} s at most.")
        if self.waits:
            print(f"Nodes were ready {max(self.waits):.2f} intervals after a start or a pause at most; bound 5")
            print("(seen twice an interval).\n")
        print("\n".join(delay_table(self.delays)), flush=True)


def _run(plans: Iterable[Plan], within_s: float) -> int:
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    began_at, summary = time.monotonic(), Summary()
    try:
        for plan in plans:
            if time.monotonic() > began_at + within_s:
                break
            _run_one(plan, summary)
    except KeyboardInterrupt:
        print("interrupted")
    summary.print(time.monotonic() - began_at)
    return 1 if summary.failed or not summary.seeds else 0


def _run_one(plan: Plan, summary: Summary) -> None:
    folder = Path(tempfile.mkdtemp(prefix=f"bender-faults-{plan.seed}-"))
    keeps = True
    try:
        recorded = asyncio.run(Seed(plan, folder).run())
        verdict = Judge(recorded.facts).run()
        _check_logs(recorded, verdict)
        summary.add(verdict, recorded.counts)
        keeps = bool(verdict.broken)
        print(f"seed {plan.seed}: {len(verdict.broken)} broken, {sum(recorded.counts.values())} faults", flush=True)
        if keeps:
            facts.write(folder / "history", recorded.facts)
            (folder / "plan").write_text("\n".join(plan.lines()), "utf-8")
            _print(verdict, recorded.facts[0].at)
    except NotReadyInTime as error:
        summary.failed += 1
        print(f"seed {plan.seed}: {error}", flush=True)
    finally:
        if keeps:
            print(f"    kept in {folder}", flush=True)
        else:
            shutil.rmtree(folder)


def _run_defects(promise: str) -> int:
    """Plant each defect in real nodes, and print whether the judge finds it. Return the exit status."""
    names = [name for name in DEFECTS if name.startswith(promise)]
    count = 0
    for name in names:
        verdict = found(name)
        broken = [each for each in verdict.broken if each.promise in DEFECTS[name].promises]
        count += bool(broken)
        promises = dict(Counter(each.promise for each in verdict.broken))
        print(f"{name:12}{broken[0].what if broken else 'NOT FOUND'} {promises}", flush=True)
    print(f"{count} of {len(names)} defects found")
    return 0 if names and count == len(names) else 1


def found(name: str) -> Verdict:
    """Return what the judge finds in nodes with a planted defect."""
    defect, folder = DEFECTS[name], Path(tempfile.mkdtemp(prefix="bender-faults-defect-"))
    try:
        recorded = asyncio.run(Seed(defect.plan, folder, dict.fromkeys(defect.nodes, name)).run())
        return Judge(recorded.facts).run()
    finally:
        shutil.rmtree(folder)


def _check_logs(recorded: Recorded, verdict: Verdict) -> None:
    """Count an error in the log of a node as a broken promise, unless the node lacked memory or descriptors."""
    hindered = {fact.node for fact in recorded.facts if isinstance(fact, facts.Hindered)}
    for name, log in recorded.logs.items():
        if "Traceback" in log:
            verdict.counts["nodes that logged an error"] += 1
            if name not in hindered:
                what = f"{name} logged an error: {log[log.index('Traceback') :][:1500]}"
                verdict.broken.append(Broken("log", recorded.facts[-1].at, what))


def _print(verdict: Verdict, begin: float) -> None:
    for broken in verdict.broken[:PRINTED]:
        print(f"    {broken.promise} at {broken.at - begin:.3f} s: {broken.what}")
    if len(verdict.broken) > PRINTED:
        print(f"    and {len(verdict.broken) - PRINTED} more")


def _judge_again(folder: Path) -> int:
    recorded = facts.read(folder / "history")
    verdict, summary = Judge(recorded).run(), Summary()
    summary.add(verdict, Counter())
    _print(verdict, recorded[0].at)
    summary.print(0.0)
    return 1 if verdict.broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
