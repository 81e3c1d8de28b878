"""Find the last change of a backend, if another operator made it a moment ago and may still be deploying.

Clients choose their names, so this is a question to people and not a lock. A change by a client without a name, such as
curl, does not count. A change that leaves no canary belongs to a deploy that is over.
"""

from __future__ import annotations

from collections.abc import Sequence

from bender.client import Setting
from bender.core.authors import name_in
from bender.core.change_description import differences
from bender.core.members import canary_of

#: How long after a change of another operator a deploy asks: by default, a deploy watches each step for a minute.
RECENT_S = 600.0


def recent_change(history: Sequence[Setting], operator: str, now_ms: int) -> str | None:
    """Return who made the last change of a backend, what and when, in a clause; None if a deploy need not stop for it.

    `history` has the newest setting first. A deploy need not stop for a change that leaves no canary, that `operator`
    or a client without a name made, or that is older than `RECENT_S`.
    """
    if len(history) < 2 or history[1].settings is None:
        return None
    last, before = history[:2]
    who, age_s = name_in(last.author), max(0.0, (now_ms - last.at_ms) / 1000)
    if last.settings is None or canary_of(last.settings) is None or not who or who == operator or age_s > RECENT_S:
        return None
    what = ", ".join(differences(before.settings, last.settings)) or "another setting"
    ago = f"{age_s:.0f} s" if age_s < 120 else f"{age_s / 60:.0f} min"
    return f"{who} set {what}, {ago} ago"
