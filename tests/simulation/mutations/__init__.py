"""Every rule of the architecture, broken on purpose; and what notices it.

A checker that nobody saw fail is no checker, and a rule whose absence nothing can notice is none. The core has no
switches for this: a mutation replaces some of its parts for a while. There is a module for each few rules.
"""

from __future__ import annotations

from tests.simulation.mutations import claims, guard, hearing, lapsing, leaving, pauses, peers, state, surpassed

MUTATIONS = {
    **claims.MUTATIONS,
    **lapsing.MUTATIONS,
    **hearing.MUTATIONS,
    **pauses.MUTATIONS,
    **leaving.MUTATIONS,
    **guard.MUTATIONS,
    **surpassed.MUTATIONS,
    **state.MUTATIONS,
    **peers.MUTATIONS,
}
