"""P7, configuration is kept.

A write known to a life is in its history, unless 20 larger ones or a larger removal displaced it; the largest is in
force. In the end every write that a living node knows is known to all (`tests.simulation.ending`). States that
operators set for instances are writes too, which last for a while.
"""

from __future__ import annotations

from collections import defaultdict

from bender.core.admin_state import registration_of, state_in
from bender.core.messages import ConfigSetting
from bender.core.registration_status import UP
from bender.core.view import ViewEvent
from tests.simulation.knowledge import Life
from tests.simulation.oracle.history import History, ObservedNode, kept_settings
from tests.simulation.oracle.p5_truthful_events import TruthfulEvents


class ConfigurationIsKept:
    """Reports settings that are lost, made up or listed wrongly."""

    def __init__(self, history: History, p5: TruthfulEvents) -> None:
        self._history = history
        self._p5 = p5
        #: The last check of each life: how many writes it knew, and the digest of its settings.
        self._checked: dict[Life, tuple[int, int]] = {}

    def check_announced(self, life: Life, event: ViewEvent) -> None:
        if not any(write.key == event.key and write.body == event.body for write in self._history.writes):
            self._history.fail("P7", f"{life} announces a setting of {event.key} that nobody made")

    def check_settings(self, node: ObservedNode) -> None:
        life = node.life
        state = (len(life.settings), node.settings_digest)
        if self._checked.get(life) == state:
            return
        self._checked[life] = state
        known: dict[str, list[ConfigSetting]] = defaultdict(list)
        for number in life.settings:
            known[self._history.writes[number].key].append(self._history.writes[number])
        for key, settings in known.items():
            history = node.setting_history(key)
            expected = kept_settings([*self._history.remembered(settings), *history])
            if not expected:
                continue
            if list(history) != expected:
                self._history.fail("P7", f"{life} has lost settings of {key}: {history} instead of {expected}")
            current = expected[0].body
            if expected[0].lasts_s is not None:
                continue
            if life.shown_settings.get(key) != current or _body(node.setting(key)) != current:
                self._history.fail(
                    "P7", f"{life} shows {life.shown_settings.get(key)!r} for {key} instead of {current!r}"
                )

    def check_states(self, node: ObservedNode) -> None:
        life = node.life
        known: dict[str, list[ConfigSetting]] = defaultdict(list)
        for number in life.settings:
            if self._history.writes[number].lasts_s is not None:
                known[self._history.writes[number].key].append(self._history.writes[number])
        for key, settings in known.items():
            of = registration_of(key)
            if of is None:
                continue
            shown = node.status(of).state
            self._p5.check_state_shown(life, of, shown)
            latest = next(iter(kept_settings([*self._history.remembered(settings), *node.setting_history(key)])), None)
            expected = state_in(latest)
            if shown not in (expected, UP) or (latest and shown == UP != expected and self._history.is_in_time(latest)):
                self._history.fail("P7", f"{life} shows {shown} for {key} instead of {expected}")
            if latest and shown != UP and self._history.is_over(latest):
                self._history.fail("P7", f"{life} shows {shown} for {key}, which is over")


def _body(setting: ConfigSetting | None) -> bytes | None:
    return setting.body if setting else None
