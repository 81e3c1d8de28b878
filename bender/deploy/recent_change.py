"""Find out whether another operator may be deploying to a backend, by its last change.

Clients choose their names, so this is a hint for people and not a lock. A change by a client without a name, such as
curl, does not count. A change that leaves no canary belongs to a deploy that has ended.
"""

from __future__ import annotations

from collections.abc import Sequence

from bender.client import Setting
from bender.core.authors import name_in
from bender.core.change_description import differences
from bender.core.members import canary_of

#: Seconds after a change by another operator within which a deploy does not begin. By default, a deploy watches each
#: step for a minute.
RECENT_S = 600.0


def recent_change(history: Sequence[Setting], operator: str, now_ms: int) -> str | None:
    """Return a clause with the author, content and age of the last change of a backend, or None if it does not matter.

    `history` has the newest setting first. A change does not matter if it leaves no canary, if `operator` or a client
    without a name made it, or if it is older than `RECENT_S`.
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
