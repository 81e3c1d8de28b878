"""Changing the options of a driver that runs."""

from __future__ import annotations

from attrs import evolve

from bender.haproxy.config_reload import DriverReloader
from bender.haproxy.core.machine_settings import Log
from bender.haproxy.core.rendering import Renderer, Unrenderable
from bender.haproxy.options import DriverOptions
from bender.process.options import OptionError
from bender.process.signals import RereadResult
from tests.haproxy.test_options import ChoicesCase

VERSION = (2, 6, 12)


def renderer_of(choices: DriverOptions) -> Renderer:
    try:
        return Renderer(choices.template or "", "/run/h.sock", "/states", VERSION)
    except Unrenderable as error:
        raise OptionError(f"--template {error}.") from error


class Running:
    """Records the renderers that a driver gets."""

    def __init__(self) -> None:
        self.renderers: list[Renderer] = []

    def use_renderer(self, renderer: Renderer) -> None:
        self.renderers.append(renderer)


class Reloading(ChoicesCase):
    def setUp(self) -> None:
        super().setUp()
        self.running = Running()
        self.choices = self.chosen()
        self.reloader = DriverReloader(self.choices, renderer_of, self.running)

    def test_the_template(self) -> None:
        """A changed template is rendered from now on, and an unchanged one causes nothing."""
        self.assertEqual(self.reloader.apply(evolve(self.choices, template="# x")), RereadResult(["--template"], []))
        self.assertEqual(len(self.running.renderers), 1)
        self.assertEqual(self.reloader.apply(evolve(self.choices, template="# x")), RereadResult([], []))

    def test_a_template_that_is_none(self) -> None:
        """An invalid template changes nothing, and is read again the next time."""
        for _ in range(2):
            self.assertRaises(OptionError, self.reloader.apply, evolve(self.choices, template="{% x %}"))
        self.assertEqual(self.running.renderers, [])

    def test_what_the_machine_adds(self) -> None:
        """Changed settings of the machine are rendered from now on, and the result names each changed option."""
        used: list[DriverOptions] = []
        reloader = DriverReloader(self.choices, renderer_of, self.running, used.append)
        self.assertEqual(reloader.apply(self.choices), RereadResult([], []))
        machine = evolve(self.choices.machine, log=Log("stdout"), maxconn=7)
        other = evolve(self.choices, machine=machine, include=self.folder)
        self.assertEqual(reloader.apply(other), RereadResult(["--log", "--maxconn", "--include"], []))
        self.assertEqual((used, reloader.apply(other)), ([other], RereadResult([], [])))

    def test_a_machine_that_is_unfit(self) -> None:
        """If the settings of the machine are refused, the template stays, too; both are used the next time."""
        unfit = [OptionError("--stats 127.0.0.1:80 cannot be listened on.")]

        def use(_chosen: DriverOptions) -> None:
            if unfit:
                raise unfit.pop()

        reloader = DriverReloader(self.choices, renderer_of, self.running, use)
        other = evolve(self.choices, template="# x", machine=evolve(self.choices.machine, stats="127.0.0.1:80"))
        self.assertRaises(OptionError, reloader.apply, other)
        self.assertEqual(self.running.renderers, [])
        self.assertEqual(reloader.apply(other), RereadResult(["--template", "--stats"], []))
        self.assertEqual(len(self.running.renderers), 1)

    def test_what_a_driver_needs_a_start_for(self) -> None:
        """An option that needs a start is named without its value, which may be a secret."""
        other = evolve(self.choices, token="secret", token_file="other", nodes=("b:1729",), runs=True, name="edge-2")
        self.assertEqual(self.reloader.apply(other), RereadResult([], ["--bender", "--run", "--name", "--token-file"]))
