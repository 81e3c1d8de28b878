"""Ledgers and claims in them."""

from __future__ import annotations

from hypothesis import strategies as st

from bender.core.ledger import (
    Claim,
    Entry,
    Head,
    Ledger,
)

OWNER = 7


def claim(n: int, key: str = "registration/web/1/h/80", body: bytes = b"{}") -> Claim:
    return Claim(OWNER, n, key, body, 10.0, 1, OWNER, n)


def ledger_of(*steps: int, removals_max: int = 1024) -> Ledger:
    """Return a ledger made by its owner: 0 adds an entry, a positive number removes the entry with that n."""
    ledger = Ledger(OWNER, removals_max)
    for step in steps:
        if step:
            ledger.remove(step)
        else:
            ledger.add(claim(ledger.next_n))
    return ledger


def copy_of(ledger: Ledger, removals_max: int = 1024) -> Ledger:
    copy = Ledger(OWNER, removals_max)
    copy.join(ledger.delta(Head()))
    return copy


@st.composite
def histories(draw: st.DrawFn) -> list[dict[int, Entry]]:
    """Draw the entries of the owner's ledger at each of its versions."""
    ledger = Ledger(OWNER)
    history = [dict(ledger.entries)]
    for adding in draw(st.lists(st.booleans(), max_size=20)):
        if adding or not ledger.entries:
            ledger.add(claim(ledger.next_n))
        else:
            ledger.remove(draw(st.sampled_from(sorted(ledger.entries))))
        history.append(dict(ledger.entries))
    return history
