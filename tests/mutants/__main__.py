"""Mutate the core and list the mutants that no test notices: python -m tests.mutants claims gossip --out FILE.

Results are written to this file as they come, and the lines that each test runs to another file. Mutants and tests in
these files are not tried again: remove the files after a change of the core.
"""

from __future__ import annotations

import json
import sys
import tomllib
from argparse import ArgumentParser, Namespace
from collections import Counter
from multiprocessing import get_context
from pathlib import Path

from tests.mutants.operators import Mutant
from tests.mutants.run import CORE, ROOT, STAGES, Outcome, Trial, attempt, chosen, mutants_of, prepare, trials

COLUMNS = [*STAGES, "timeout", "equivalent", "survived"]


def main(arguments: list[str]) -> int:
    options = _options(arguments)
    names = options.modules or sorted(path.stem for path in CORE.glob("[!_]*.py"))
    modules = {name: mutants_of(name) for name in names}
    everything = [mutant for found in modules.values() for mutant in found]
    outcomes = {key: Outcome("equivalent") for key in equivalents()}
    outcomes |= {key: outcome for key, outcome in _read(options.out).items() if key not in outcomes}
    again = {"survived"} if options.survivors else set()
    wanted = [i for i, mutant in enumerate(everything) if _is_wanted(mutant, outcomes, again)]
    if wanted:
        outcomes |= _try(everything, wanted, options)
    _print_table(modules, outcomes)
    survivors = [mutant for mutant in everything if outcomes[mutant.key].verdict == "survived"]
    for mutant in survivors:
        print(f"bender/core/{mutant.module}.py:{mutant.line}: {mutant.name}")
    return 1 if survivors else 0


def _options(arguments: list[str]) -> Namespace:
    parser = ArgumentParser(prog="python -m tests.mutants", description="Change the core and see which tests notice.")
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="modules of bender/core (all)")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes (1)")
    parser.add_argument("--out", type=Path, default=ROOT / "build/mutants.jsonl", metavar="FILE", help="results so far")
    parser.add_argument("--survivors", action="store_true", help="try those again that have survived")
    return parser.parse_args(arguments)


def equivalents() -> dict[str, str]:
    """Return the mutants that no test can notice, each with its reason."""
    tables = tomllib.loads((Path(__file__).parent / "equivalent.toml").read_text("utf-8"))
    return {f"{module}.{name}": reason for module, table in tables.items() for name, reason in table.items()}


def _is_wanted(mutant: Mutant, outcomes: dict[str, Outcome], again: set[str]) -> bool:
    return mutant.key not in outcomes or outcomes[mutant.key].verdict in again


def _read(path: Path) -> dict[str, Outcome]:
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    return {key: Outcome(verdict, test) for key, verdict, test in map(json.loads, lines)}


#: All mutants and tests, in a global because child processes inherit it.
_mutants: list[Mutant] = []
_trials: list[Trial] = []


def _try(everything: list[Mutant], wanted: list[int], options: Namespace) -> dict[str, Outcome]:
    """Try the selected mutants, and record the outcome of each."""
    prepare()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    _mutants[:], _trials[:] = everything, trials(options.out.with_suffix(".tests"))
    outcomes = {}
    with get_context("fork").Pool(options.jobs) as pool, options.out.open("a", encoding="utf-8") as file:
        for i, outcome in pool.imap_unordered(_attempt, wanted):
            key = everything[i].key
            outcomes[key] = outcome
            print(json.dumps([key, outcome.verdict, outcome.test]), file=file, flush=True)
    return outcomes


def _attempt(i: int) -> tuple[int, Outcome]:
    return i, attempt(_mutants[i], chosen(_mutants[i], _trials))


def _print_table(modules: dict[str, list[Mutant]], outcomes: dict[str, Outcome]) -> None:
    print(f"{'module':15}{'mutants':>10}" + "".join(f"{column:>12}" for column in COLUMNS))
    total: Counter[str] = Counter()
    for name, found in modules.items():
        counts = Counter(outcomes[mutant.key].verdict for mutant in found)
        total += counts
        _print_row(name, counts)
    _print_row("all", total)


def _print_row(name: str, counts: Counter[str]) -> None:
    print(f"{name:15}{counts.total():10,}" + "".join(f"{counts[column]:12,}" for column in COLUMNS))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
