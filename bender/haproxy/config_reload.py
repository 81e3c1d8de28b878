"""Applies reread options to a running driver."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from attrs import fields

from bender.haproxy.core.rendering import Renderer
from bender.haproxy.options import DriverOptions
from bender.process.signals import RereadResult

#: The options that can change while a driver runs. The client reads the token file again when nodes refuse the token.
_AT_ONCE = ("template", "machine", "certificates", "include", "token", "log_settings")

#: The options among them that are parts of `DriverOptions.machine`.
_OF_MACHINE = ("log", "stats", "maxconn", "timeouts")

#: Fields of `DriverOptions` whose option has another name.
_OPTIONS = {"nodes": "bender", "haproxy": "check", "runs": "run"}


class RunningDriver(Protocol):
    """The part of a driver that this module calls."""

    def use_renderer(self, renderer: Renderer) -> None: ...


class DriverReloader:
    """Changes the options of a driver that was started with `start_options`.

    `renderer_of` returns a renderer of the template that options name, or raises `OptionError` if the template is not
    valid. `use_machine` applies the options about the machine to the driver.
    """

    def __init__(
        self,
        start_options: DriverOptions,
        renderer_of: Callable[[DriverOptions], Renderer],
        driver: RunningDriver,
        use_machine: Callable[[DriverOptions], None] = lambda _chosen: None,
    ) -> None:
        self._start_options = start_options
        self._current = start_options
        self._renderer_of = renderer_of
        self._driver = driver
        self._use_machine = use_machine

    def apply(self, chosen: DriverOptions) -> RereadResult:
        """Apply the options that can change while the driver runs; return these, and the others that differ.

        Raises `OptionError`, and then changes nothing.
        """
        renderer = None if chosen.template == self._current.template else self._renderer_of(chosen)
        changed = [] if renderer is None else ["--template"]
        changed += self._change_machine(chosen)
        if renderer is not None:
            self._driver.use_renderer(renderer)
        self._current = chosen
        return RereadResult(changed, [*map(_named, self._differing(chosen))])

    def _change_machine(self, chosen: DriverOptions) -> list[str]:
        """Apply the options about the machine, and return those that differ."""
        now = self._current
        changed = [name for name in _OF_MACHINE if getattr(chosen.machine, name) != getattr(now.machine, name)]
        changed += [name for name in ("certificates", "include") if getattr(chosen, name) != getattr(now, name)]
        if changed:
            self._use_machine(chosen)
        return [f"--{name}" for name in changed]

    def _differing(self, chosen: DriverOptions) -> list[str]:
        names = [each.name for each in fields(DriverOptions) if each.name not in _AT_ONCE]
        return [name for name in names if getattr(chosen, name) != getattr(self._start_options, name)]


def _named(field: str) -> str:
    return f"--{_OPTIONS.get(field, field.replace('_', '-'))}"
