"""The HTTP API compared with its model, in a short and constant series of histories."""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from bender.api.routes import ROUTES
from tests.effort import effort
from tests.fuzz.machine.machine import ApiMachine, try_histories

#: A part of a path that a route leaves open.
_VARIABLE = re.compile(r"<[a-z]+>")


class Histories(SynchronousTestCase):
    def test_the_whole_api(self) -> None:
        """Whatever clients send, in any order, every answer equals that of the model. Every command is used."""
        ApiMachine.requests.clear()
        try_histories(effort(80, 400), same_each_time=True)
        for route in ROUTES:
            path = re.compile(_VARIABLE.sub("[^/]+", route.path))
            asked = {method for method, sent in ApiMachine.requests if path.fullmatch(sent)}
            self.assertEqual({*route.commands} - asked, set(), route.path)
