"""The end of a command that fails, or whose output cannot be written."""

from __future__ import annotations

import errno
import os
from collections.abc import Coroutine
from contextlib import redirect_stderr
from io import StringIO
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from bender.cli.click_base import UnwritableOutput
from bender.cli.output import Output
from bender.cli.session import Session, _run_to_status
from bender.client import Unavailable
from bender.client.transport import ConnectionSecurity


class Ending(SynchronousTestCase):
    def doing(self, error: Exception, *, has_given_nodes: bool = True, changes: int = 0) -> Deferred[int]:
        session = Session(
            Output(as_json=False), ("10.0.0.1:1729",), has_given_nodes, ConnectionSecurity(None, None, "anna")
        )
        client: Any = SimpleNamespace(changes=changes)
        session.client = client

        async def command() -> int | None:
            raise error

        doing: Coroutine[Any, Any, int | None] = command()
        return Deferred.fromCoroutine(_run_to_status(session, lambda _delay_s, _call: lambda: None, doing))

    def said(self, error: Exception, **how: Any) -> str:
        with redirect_stderr(StringIO()) as shown:
            self.assertEqual(self.successResultOf(self.doing(error, **how)), 1)
        return shown.getvalue()

    def test_no_node(self) -> None:
        """The error has a hint to --node if no nodes were given."""
        away = Unavailable({"127.0.0.1:1729": "does not answer (connection refused)"})
        why = "bender: 127.0.0.1:1729 does not answer (connection refused)"
        self.assertEqual(self.said(away), f"{why}.\n")
        self.assertEqual(self.said(away, has_given_nodes=False), f"{why}: name the nodes by --node or BENDER_NODES.\n")

    def test_output_that_cannot_be_written(self) -> None:
        """The error tells whether the registry was changed; a reader that closes the output needs no error."""
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.failureResultOf(self.doing(full, changes=1), UnwritableOutput)
        for error, changes in ((full, 0), (BrokenPipeError(), 1)):
            found = self.failureResultOf(self.doing(error, changes=changes), OSError).value
            self.assertIs(found, error)
