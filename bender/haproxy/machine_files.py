"""The files of this machine that are parts of HAProxy's configuration: certificates, and the operator's own lines.

The driver checks them every two seconds. A change is used when two checks in a row find the same files, because people
and programs write them one after the other.
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
from bender.haproxy.core.custom import SUFFIX, Custom, parse_custom
from bender.haproxy.core.machine_settings import Machine

#: Seconds between two checks, each of which reads the state of every file.
LOOK_S = 2.0


class MachineFiles(Service):
    """Calls `on_change` at the start and after each change, with the machine's settings and their problems by id.

    `in_use` returns the text of HAProxy's configuration; the certificates that it names are kept.
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
        self._last_signature: object = None
        self._used_signature: object = None
        self._looking: Any = None

    def use(self, machine: Machine, certificates: Path | None, include: Path | None) -> None:
        """Use these options, and the files as they are now. `machine` has the settings that do not come from files."""
        self._machine, self._certificates, self._include = machine, certificates, include
        self._last_signature = self._signature()
        self._use_files()

    def startService(self) -> None:
        super().startService()
        self._looking = self._reactor.callLater(LOOK_S, self._look)

    def stopService(self) -> None:
        super().stopService()
        if self._looking is not None and self._looking.active():
            self._looking.cancel()

    def _look(self) -> None:
        self._looking = self._reactor.callLater(LOOK_S, self._look)
        before, self._last_signature = self._last_signature, self._signature()
        if self._last_signature == before and self._last_signature != self._used_signature:
            if self._used_signature is not None:
                self._log.info("The files of --certificates or --include have changed.")
            self._use_files()

    def _signature(self) -> object:
        certificates = () if self._certificates is None else file_signature(self._certificates)
        return certificates, None if self._include is None else _read(self._include)

    def _use_files(self) -> None:
        self._used_signature = self._last_signature
        problems: dict[str, str] = {}
        custom = Custom() if self._include is None else read_custom(self._include)
        folder: Path | None = None
        if self._certificates is not None:
            try:
                taken = self._store.take(self._certificates, self.in_use())
            except OSError as error:
                folder = self._store.last()
                then = "" if folder is None else "; the previous copies stay in use"
                problems["certificates"] = f"cannot be copied ({error.strerror}){then}"
                self._used_signature = None  # so that the next check tries again
            else:
                folder, problems = taken.folder, dict(taken.problems)
        certificates = None if folder is None else str(folder)
        self._on_change(evolve(self._machine, certificates=certificates, custom=custom), problems)


def read_custom(folder: Path) -> Custom:
    """Return the lines of the files in a folder, or a `problem`."""
    read = _read(folder)
    return Custom(problem=read) if isinstance(read, str) else parse_custom(read)


def _read(folder: Path) -> dict[str, str] | str:
    """Return by name the texts of the files with the operator's lines, or the reason why a file cannot be read."""
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
