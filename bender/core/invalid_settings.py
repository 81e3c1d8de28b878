"""The problems of settings that peers sent and that this node ignored, by the addresses of the senders."""

from __future__ import annotations

#: The largest number of addresses that are remembered at the same time.
REMEMBERED_MAX = 100

#: For how many seconds an address is reported after its last invalid setting.
KEPT_S = 60.0


class InvalidSettings:
    """The latest problem of each sender. Past `REMEMBERED_MAX`, the sender without a problem for longest is dropped."""

    def __init__(self) -> None:
        # Each problem, and when it came; the latest is the last.
        self._latest: dict[str, tuple[str, float]] = {}

    def __len__(self) -> int:
        return len(self._latest)

    def note(self, address: str, problem: str, now: float) -> None:
        """Note the problem of a setting that came from an address."""
        self._latest.pop(address, None)
        self._latest[address] = (problem, now)
        if len(self._latest) > REMEMBERED_MAX:
            del self._latest[next(iter(self._latest))]

    def problems(self, now: float) -> dict[str, str]:
        """Return the problems of the last `KEPT_S`, by address; the latest is the last."""
        return {address: problem for address, (problem, at) in self._latest.items() if now < at + KEPT_S}

    def forget(self, now: float) -> None:
        """Forget older problems."""
        for address in self._latest.keys() - self.problems(now).keys():
            del self._latest[address]
