"""Run coroutines in the background. A failure in one is logged, and does not end the others."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectingCancelledError
from twisted.logger import Logger

_log = Logger()


def in_background(coroutine: Coroutine[Any, Any, None]) -> Deferred[None]:
    """Start a coroutine, and return a Deferred that can be cancelled and never fails."""
    return Deferred.fromCoroutine(coroutine).addErrback(_log_failure)


def _log_failure(failure: Any) -> None:
    if not failure.check(CancelledError, ConnectingCancelledError):
        _log.failure("Unexpected error; the command continues.", failure)
