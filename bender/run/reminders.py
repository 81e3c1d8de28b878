"""Decide when to log the reason why the instance is not registered: first after some seconds, then less often.

A service needs some time to start, so the reason is not logged at once. Later, an operator who reads the log must find
the reason in it, but a service that waits for days must not fill the disk.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

#: Seconds from the start to the first line, and between any two lines.
LINE_INTERVAL_S = 5.0

#: Seconds after which an unchanged reason is logged again: the first time, and each time after that.
FIRST_REPEAT_S = 60.0
REPEAT_S = 600.0


class Reminder:
    """Pass a reason on to `log` after 5 s, again after one minute, and then every ten minutes.

    A new reason is passed on within 5 s. `clock` has the method `seconds`.
    """

    def __init__(self, clock: IReactorTime, log: Callable[[str], None]) -> None:
        self._clock = clock
        self._log = log
        self._reason: str | None = None
        self._logged_at: float = clock.seconds()
        self._repeat_s = FIRST_REPEAT_S

    def note(self, reason: str) -> None:
        """Log the reason if it is time to. Call this about once a second with the present reason."""
        apart_s = self._repeat_s if reason == self._reason else LINE_INTERVAL_S
        if self._clock.seconds() >= self._logged_at + apart_s:
            self.note_logged(reason)
            self._log(reason)

    def note_logged(self, reason: str) -> None:
        """Note that the reason has just been logged by other means."""
        self._repeat_s = REPEAT_S if reason == self._reason else FIRST_REPEAT_S
        self._reason = reason
        self._logged_at = self._clock.seconds()
