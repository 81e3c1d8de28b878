"""The base class for tests of the model."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from bender.core.invalid import Invalid
from bender.core.model import RegistrationRequest
from bender.core.timing import Timing

TIMING = Timing()
WEB = RegistrationRequest("web", "1.0", "10.0.0.5", 80)


class ModelCase(SynchronousTestCase):
    def invalid(self, field: str, parse: Any, *args: Any) -> str:
        """Expect that a value is refused because of a field, which the message names."""
        error = self.assertRaises(Invalid, parse, *args)
        self.assertEqual(error.field, field)
        self.assertTrue(str(error).startswith(f"{field}: "), str(error))
        return str(error)
