"""The whole HTTP API beside its model, in a short series of histories that is always the same."""

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
        """Whatever clients send, in any order, every answer is that of the model; no command is left out."""
        ApiMachine.requests.clear()
        try_histories(effort(80, 400), same_each_time=True)
        for route in ROUTES:
            path = re.compile(_VARIABLE.sub("[^/]+", route.path))
            asked = {method for method, sent in ApiMachine.requests if path.fullmatch(sent)}
            self.assertEqual({*route.commands} - asked, set(), route.path)
