"""Which settings clients see: those of the configuration, but none that changed while listings are held back."""

from __future__ import annotations

from bender.core.claims import Claims
from bender.core.last_writer_wins import Configuration
from bender.core.node_loss_guard import guarded_app
from bender.core.view import View

#: Beginnings of the keys that clients see. A later release may have others, which are kept for its nodes.
SHOWN_KINDS = ("backend/", "frontend/", "state/")


class ShownSettings:
    """Keeps the settings in the view equal to the configuration."""

    def __init__(self, configuration: Configuration, claims: Claims, view: View) -> None:
        self._configuration = configuration
        self._claims = claims
        self._view = view
        # Keys to be shown once nothing is held back; the incarnation before may have left some.
        self._stale = dict.fromkeys(configuration)

    @property
    def are_stale(self) -> bool:
        """Whether there are settings to be shown once nothing is held back."""
        return bool(self._stale)

    def show(self, key: str, now: float) -> None:
        """Show the current setting of a key, or remember to do it once nothing is held back."""
        if self._claims.is_frozen:
            self._stale[key] = None
            return
        current, app = self._configuration.current(key, now), guarded_app(key)
        if app is not None:
            self._claims.set_guard_lifted(app, lifted=current is not None)
        elif key.startswith(SHOWN_KINDS):
            self._view.configure(key, current)

    def show_stale(self, now: float) -> None:
        """Show what changed while listings were held back."""
        for key in self._stale:
            self.show(key, now)
        self._stale.clear()
