"""Warn before the certificates of a node expire: in the log once a day, and in `/status`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Protocol

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from bender.tls.identity import TlsIdentity

#: The node warns of a certificate that expires within this time.
WARNING_PERIOD = timedelta(days=30)

#: Time between two checks.
CHECK_INTERVAL_S = 3600.0

#: Time between two lines of the log about the same certificate.
LOG_INTERVAL_S = 86_400.0


class CertifiedNode(Protocol):
    """The attributes of a node that are used here.

    `certificates` has the time at which each certificate expires, in milliseconds since 1970, by option;
    `certificate_problems` has a clause about each that is not valid, or not much longer, by `certificate/OPTION`.
    """

    certificates: dict[str, int]
    certificate_problems: dict[str, str]


class CertificateSource(Protocol):
    """The certificates in use, by the option that names their directory."""

    @property
    def identities(self) -> Mapping[str, TlsIdentity]: ...


class CertificateExpiry(Service):
    """Checks the certificates every hour, and whenever `check` is called."""

    _log = Logger()

    def __init__(
        self, reactor: IReactorTime, node: CertifiedNode, protection: CertificateSource, wall_ms: Callable[[], int]
    ) -> None:
        self._reactor = reactor
        self._node = node
        self._protection = protection
        self._wall_ms = wall_ms
        self._logged_at_s: dict[TlsIdentity, float] = {}
        self._loop = LoopingCall(self._check_again)
        self._loop.clock = reactor

    def startService(self) -> None:
        super().startService()
        self._loop.start(CHECK_INTERVAL_S)  # its Deferred is not needed, because a check never raises

    def stopService(self) -> None:
        super().stopService()
        self._loop.stop()

    def _check_again(self) -> None:
        try:
            self.check()
        except Exception:
            self._log.failure("The check of the certificates' expiry failed; it is repeated in an hour.")

    def check(self) -> None:
        """Update the node's attributes, and log the problems that are due."""
        identities = self._protection.identities
        now = datetime.fromtimestamp(self._wall_ms() / 1000, UTC)
        self._node.certificates = {
            option: int(identity.expires_at.timestamp() * 1000) for option, identity in identities.items()
        }
        self._node.certificate_problems = {
            f"certificate/{option}": problem
            for option, identity in identities.items()
            if (problem := _problem(identity, now)) is not None
        }
        for option, identity in identities.items():
            problem = self._node.certificate_problems.get(f"certificate/{option}")
            if problem is not None and self._is_log_due(identity):
                self._log.warn("--{option}: {problem}.", option=option, problem=problem)

    def _is_log_due(self, identity: TlsIdentity) -> bool:
        """Return True if a line about a certificate is due, and record that it is logged now."""
        now_s = self._reactor.seconds()
        in_use = {*self._protection.identities.values()}
        self._logged_at_s = {known: at_s for known, at_s in self._logged_at_s.items() if known in in_use}
        due = now_s - self._logged_at_s.get(identity, -LOG_INTERVAL_S) >= LOG_INTERVAL_S
        if due:
            self._logged_at_s[identity] = now_s
        return due


def _problem(identity: TlsIdentity, now: datetime) -> str | None:
    """Return a clause about a certificate that is not valid, or not much longer; None for any other."""
    if identity.valid_from > now:
        day = f"{identity.valid_from:%Y-%m-%d %H:%M} UTC"
        return f"a certificate in {identity.directory} is valid only from {day}: correct the clock of this machine"
    left = identity.expires_at - now
    if left > WARNING_PERIOD:
        return None
    day = f"{identity.expires_at:%Y-%m-%d %H:%M} UTC"
    then = "replace it, and send SIGHUP to the node"
    if left <= timedelta(0):
        return f"the certificate in {identity.expiring_file} expired on {day}: {then}"
    return f"the certificate in {identity.expiring_file} expires in {_days(left)}, on {day}: {then}"


def _days(left: timedelta) -> str:
    if left.days == 0:
        return "less than a day"
    return "1 day" if left.days == 1 else f"{left.days} days"
