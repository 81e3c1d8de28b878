"""Prints what happened to one key in a seed, line by line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bender.core.claims import Claims
from bender.core.leases import Lease
from bender.core.ledger import Claim, Entry
from tests.simulation.patches import patched
from tests.simulation.seeds import Simulation


def trace(seed: int, key: str, *, hard: bool, write: Callable[[str], None] = print) -> bool:
    """Run a seed, and write the lines about `key`, faults and broken promises. Return True if a promise was broken."""
    simulation: Simulation | None = None

    def line(text: str) -> None:
        if key in text or not any(kind in text for kind in ("registration/", "backend/", "frontend/", "state/")):
            write(text)

    def say(claims: Claims, what: str, entry: Entry) -> None:
        if simulation is not None and entry.key == key:
            named = {life.incarnation: str(life) for life in simulation.cluster.history.lives}
            node = named.get(claims._incarnation, "?")
            simulation.cluster.say(f"{node} {what} {key} {_described(entry, named)}")

    def adding(original: Callable[..., Lease]) -> Callable[..., Lease]:
        def add(claims: Claims, entry: Entry, deadline: float) -> Lease:
            say(claims, "adds", entry)
            return original(claims, entry, deadline)

        return add

    def removing(original: Callable[..., Any]) -> Callable[..., Any]:
        def remove(claims: Claims, lease: Lease) -> None:
            say(claims, "removes", lease.entry)
            original(claims, lease)

        return remove

    with patched([(Claims, "_add", adding), (Claims, "_remove", removing)]):
        simulation = Simulation(seed, hard=hard, trace=line)
        settings, weather = simulation.settings, simulation.cluster.weather
        write(f"{settings} loss {weather.loss} slow {weather.slow}, {weather.very_slow} doubling {weather.doubling}")
        simulation.run()
    return bool(simulation.cluster.oracle.broken)


def _described(entry: Entry, named: dict[int, str]) -> str:
    if isinstance(entry, Claim):
        root = f"{named.get(entry.root_node, '?')}.{entry.root_n}"
        return f"claim {entry.n} of {entry.body!r}, rev {entry.rev}, root {root}"
    return f"end {entry.n} of {', '.join(f'{named.get(node, node)}.{n}' for node, n in entry.roots)}"
