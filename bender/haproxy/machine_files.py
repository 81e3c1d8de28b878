"""The files of this machine that are parts of HAProxy's configuration: certificates, and the operator's own lines.

They are looked at every two seconds, and taken once two looks in a row find them the same, because people and programs
write them one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from bender.haproxy.certificates import CertificateStore, file_signature
from bender.haproxy.core.custom import SUFFIX, Custom, custom_of
from bender.haproxy.core.machine_settings import Machine

#: Seconds between two looks, each of which asks the system about every file.
LOOK_S = 2.0


class MachineFiles(Service):
    """Calls `on_change` with the machine's settings and, by id, their problems: at the start, and after each change.

    `in_use` returns HAProxy's configuration; the certificates that it names are kept.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        store: CertificateStore,
        on_change: Callable[[Machine, Mapping[str, str]], None],
        in_use: Callable[[], str] = lambda: "",
    ) -> None:
        self._reactor = reactor
        self._store = store
        self._on_change = on_change
        self.in_use = in_use
        self._machine = Machine()
        self._certificates: Path | None = None
        self._include: Path | None = None
        self._seen: object = None
        self._taken: object = None
        self._looking: Any = None

    def use(self, machine: Machine, certificates: Path | None, include: Path | None) -> None:
        """Use these options, and the files as they are now. `machine` has what does not come from files."""
        self._machine, self._certificates, self._include = machine, certificates, include
        self._seen = self._state()
        self._take()

    def startService(self) -> None:
        super().startService()
        self._looking = self._reactor.callLater(LOOK_S, self._look)

    def stopService(self) -> None:
        super().stopService()
        if self._looking is not None and self._looking.active():
            self._looking.cancel()

    def _look(self) -> None:
        self._looking = self._reactor.callLater(LOOK_S, self._look)
        before, self._seen = self._seen, self._state()
        if self._seen == before and self._seen != self._taken:
            if self._taken is not None:
                self._log.info("The files of --certificates or --include have changed.")
            self._take()

    def _state(self) -> object:
        certificates = () if self._certificates is None else file_signature(self._certificates)
        return certificates, None if self._include is None else _read(self._include)

    def _take(self) -> None:
        self._taken = self._seen
        problems: dict[str, str] = {}
        custom = Custom() if self._include is None else custom_in(self._include)
        folder: Path | None = None
        if self._certificates is not None:
            try:
                taken = self._store.take(self._certificates, self.in_use())
            except OSError as error:
                folder = self._store.last()
                then = "" if folder is None else "; the previous copies stay in use"
                problems["certificates"] = f"cannot be copied ({error.strerror}){then}"
                self._taken = None  # it is tried again at the next look
            else:
                folder, problems = taken.folder, dict(taken.problems)
        certificates = None if folder is None else str(folder)
        self._on_change(evolve(self._machine, certificates=certificates, custom=custom), problems)


def custom_in(folder: Path) -> Custom:
    """Return the lines of the files in a folder, or a `problem`."""
    read = _read(folder)
    return Custom(problem=read) if isinstance(read, str) else custom_of(read)


def _read(folder: Path) -> dict[str, str] | str:
    """Return the files with the operator's lines, by name, or why they cannot be read."""
    texts: dict[str, str] = {}
    try:
        for file in sorted(folder.iterdir()):
            if file.suffix == SUFFIX and not file.name.startswith("."):
                texts[file.name] = file.read_text("utf-8")
    except OSError as error:
        return f"{error.filename} cannot be read: {error.strerror}"
    except UnicodeDecodeError as error:
        return f"{file.name} is not UTF-8 ({error})"
    return texts
