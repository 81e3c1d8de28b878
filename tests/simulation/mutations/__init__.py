"""All rules of the architecture, broken on purpose, and what notices each of them.

A checker that never failed proves nothing, and neither does a rule whose absence no test can notice. The core has no
switches for this: a mutation replaces some of its parts for a while. Each module has the mutations of a few rules.
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
