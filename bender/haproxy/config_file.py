"""The configuration file that HAProxy loads. It is only replaced by a configuration that HAProxy itself has checked."""

from __future__ import annotations

import subprocess
from collections.abc import Awaitable, Callable
from contextlib import suppress
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from typing import IO

from attrs import frozen
from twisted.internet.defer import DeferredLock
from twisted.internet.interfaces import IReactorTime

from bender.haproxy.core.custom import located
from bender.haproxy.core.rendering import Rendered
from bender.haproxy.processes import CannotRun, run_program

#: Time limit for `haproxy -c`, which takes some hundredths of a second.
CHECK_S_MAX = 20.0

#: Characters of HAProxy's output that are kept where it refuses a configuration.
WHY_CHARACTERS_MAX = 2000

_HEADING = "# "
_WHOSE = ", written by twistd bender-haproxy, which overwrites what is changed here."


class ConfigRefused(Exception):
    """HAProxy refuses a configuration; the message is its output."""


class Unwritable(ConfigRefused):
    """A file cannot be written; the message has its name and the reason."""


@frozen
class Written:
    """The content of the file: its text, and the description in its first line, if a driver wrote it."""

    text: str
    description: str | None


def lock_output(output: Path) -> IO[str]:
    """Keep any other driver from this file, until the returned lock is closed or this process ends in any way.

    Raises `ConfigRefused` where another driver has the lock: each would undo the other's changes, and end its HAProxy.
    """
    path = output.with_name(f".{output.name}.lock")
    try:
        lock = path.open("a")
    except OSError as error:
        raise Unwritable(f"{path} cannot be written ({error.strerror})") from error
    try:
        flock(lock, LOCK_EX | LOCK_NB)
    except OSError as error:
        lock.close()
        raise ConfigRefused(f"another driver uses {output}: stop it, or give this driver files of its own") from error
    return lock


def states_beside(output: Path) -> Path:
    """Return the file from which HAProxy takes the states of its servers, beside its configuration."""
    return output.absolute().with_name(f"{output.name}.states")


def _store(file: Path, text: str) -> None:
    file.write_text(text, "utf-8")


class Files:
    """The configuration in the file `output`, and the states of servers beside it.

    `check` is awaited with a draft of a configuration, and raises `ConfigRefused`. `store` writes a text into a file,
    and raises `OSError`.
    """

    def __init__(
        self, output: Path, check: Callable[[Path], Awaitable[None]], store: Callable[[Path, str], None] = _store
    ) -> None:
        self.output = output
        self._check = check
        self._store = store
        self._lock = DeferredLock()
        #: The content of the configuration file; None if there is none.
        self.written = self._read()
        #: The content of the file with the states of servers; None if there is none.
        self.states = _text(states_beside(output))

    async def replace(self, rendered: Rendered) -> Written | None:
        """Write a configuration if HAProxy accepts it; return the previous one. Raises `ConfigRefused`.

        Nothing is changed where it is refused, or is the same as before.
        """
        async with self._lock:
            return await self._replace(rendered)

    async def _replace(self, rendered: Rendered) -> Written | None:
        before = self.written
        text = f"{_HEADING}{rendered.description}{_WHOSE}\n{rendered.text}"
        if before is not None and before.text == text:
            return before
        draft = self.output.with_name(f".{self.output.name}.draft")
        try:
            self._store(draft, text)
            await self._check_draft(draft, text)
            draft.replace(self.output)
        except OSError as error:
            raise Unwritable(f"{self.output} cannot be written ({error.strerror})") from error
        finally:
            with suppress(OSError):  # an error here means that it could not be written either, which was raised
                draft.unlink()
        self.written = Written(text, rendered.description)
        return before

    async def _check_draft(self, draft: Path, text: str) -> None:
        """Raise `ConfigRefused` if it is wrong, with the file and line where that is a line of the operator's own."""
        try:
            await self._check(draft)
        except ConfigRefused as refused:
            raise ConfigRefused(located(str(refused), text)) from None

    def restore(self, before: Written | None) -> None:
        """Bring back the previous configuration, if there was one. Raises `Unwritable`."""
        if before is None or before == self.written:
            return
        self._write(self.output, before.text)
        self.written = before

    def forget_removed(self) -> None:
        """Note that the configuration file was removed, if it was."""
        if not self.output.exists():
            self.written = None

    def keep_states(self, text: str) -> None:
        """Write which servers are down when HAProxy begins. Raises `Unwritable`."""
        if text != self.states:
            self._write(states_beside(self.output), text)
            self.states = text

    def _write(self, file: Path, text: str) -> None:
        """Replace a file as a whole. Raises `Unwritable`."""
        draft = file.with_name(f".{file.name}.draft")
        try:
            self._store(draft, text)
            draft.replace(file)
        except OSError as error:
            raise Unwritable(f"{file} cannot be written ({error.strerror})") from error
        finally:
            with suppress(OSError):  # it is left only where it could not be moved
                draft.unlink()

    def _read(self) -> Written | None:
        text = _text(self.output)
        if text is None:
            return None
        first = text.partition("\n")[0]
        mine = first.startswith(_HEADING) and first.endswith(_WHOSE)
        return Written(text, first[len(_HEADING) : -len(_WHOSE)] if mine else None)


def _text(file: Path) -> str | None:
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return None


async def check(reactor: IReactorTime, haproxy: str, draft: Path) -> None:
    """Let the program `haproxy` check a configuration. Raises `ConfigRefused`."""
    try:
        ran = await run_program(reactor, _check_command(haproxy, draft), CHECK_S_MAX)
    except CannotRun as error:
        raise ConfigRefused(f"{haproxy} {error}") from error
    _require_accepted(haproxy, draft, ran.status, ran.output)


def check_config_now(haproxy: str, draft: Path) -> None:
    """Do the same before there is a reactor. Raises `ConfigRefused`."""
    try:
        ran = subprocess.run(  # noqa: S603 - the operator names the program
            _check_command(haproxy, draft),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=CHECK_S_MAX,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigRefused(f"{haproxy} cannot be run ({error})") from error
    _require_accepted(haproxy, draft, ran.returncode, ran.stdout.decode("utf-8", "replace"))


def _check_command(haproxy: str, draft: Path) -> list[str]:
    return [haproxy, "-c", "-f", str(draft)]


def _require_accepted(haproxy: str, draft: Path, status: int, output: str) -> None:
    if status != 0:
        output_text = " ".join(output.replace(f"{draft}:", "line ").split())
        raise ConfigRefused(output_text[:WHY_CHARACTERS_MAX] or f"{haproxy} ended with status {status}")
