"""Requests to one node, which is not running."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.testing import EventLoggingObserver, MemoryReactorClock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from bender.client.transport import ConnectionSecurity
from bender.client.twisted_http import Http


class Log(SynchronousTestCase):
    def test_a_connection_is_no_line_of_it(self) -> None:
        """Connections are not logged, because repeated connections to a missing node would fill a program's log."""
        told = EventLoggingObserver()
        globalLogPublisher.addObserver(told)
        self.addCleanup(globalLogPublisher.removeObserver, told)
        for node in ("127.0.0.1:1729", "https://127.0.0.1:1729"):
            reactor: Any = MemoryReactorClock()
            http = Http(reactor, ConnectionSecurity())
            asking = Deferred.fromCoroutine(http.ask(node, "GET", "/ready", None, {}, 5.0))
            ((_, _, factory, *_),) = reactor.tcpClients
            factory.doStart()
            factory.doStop()
            self.assertEqual([*told], [])
            asking.cancel()
            self.failureResultOf(asking)
