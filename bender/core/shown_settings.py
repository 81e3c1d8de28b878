"""Keeping the settings that clients see equal to the configuration, except while the view is frozen."""

from __future__ import annotations

from bender.core.claims import Claims
from bender.core.last_writer_wins import Configuration
from bender.core.node_loss_guard import guarded_app
from bender.core.view import View

#: The keys of settings that clients see begin with these. A later release may have other kinds: this node keeps and
#: passes them on, but does not list them.
SHOWN_KINDS = ("backend/", "frontend/", "state/")


class ShownSettings:
    """Keeps the settings in the view equal to the configuration, and the apps from which the guard is lifted."""

    def __init__(self, configuration: Configuration, claims: Claims, view: View) -> None:
        self._configuration = configuration
        self._claims = claims
        self._view = view
        # Keys to be shown when the view is no longer frozen. At first all: the previous incarnation may have left some.
        self._stale = dict.fromkeys(configuration)

    @property
    def are_stale(self) -> bool:
        """Whether settings wait to be shown until the view is no longer frozen."""
        return bool(self._stale)

    def show(self, key: str, now: float) -> None:
        """Show the setting of a key that is in force now; remember the key for later while the view is frozen."""
        if self._claims.is_frozen:
            self._stale[key] = None
            return
        current, app = self._configuration.current(key, now), guarded_app(key)
        if app is not None:
            self._claims.set_guard_lifted(app, lifted=current is not None)
        elif key.startswith(SHOWN_KINDS):
            self._view.configure(key, current)

    def show_stale(self, now: float) -> None:
        """Show the settings that changed while the view was frozen. Call this when it is no longer frozen."""
        for key in self._stale:
            self.show(key, now)
        self._stale.clear()
