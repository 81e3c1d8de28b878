"""Run coroutines beside others: a failure in one is logged, and ends nothing else."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectingCancelledError
from twisted.logger import Logger

_log = Logger()


def in_background(doing: Coroutine[Any, Any, None]) -> Deferred[None]:
    """Start a coroutine, and return a Deferred that can be cancelled and never fails."""
    return Deferred.fromCoroutine(doing).addErrback(_failed)


def _failed(failure: Any) -> None:
    if not failure.check(CancelledError, ConnectingCancelledError):
        _log.failure("Unexpected error; the command continues.", failure)
