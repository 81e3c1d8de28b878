"""The configuration file that HAProxy loads. Only a configuration that HAProxy has checked can replace it."""

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

from bender.haproxy.core.custom import with_files_and_lines
from bender.haproxy.core.rendering import RenderedConfig
from bender.haproxy.processes import CannotRun, run_program

#: Time limit for `haproxy -c`, which takes some hundredths of a second.
CHECK_S_MAX = 20.0

#: Characters of HAProxy's output in the reason why it refuses a configuration.
WHY_CHARACTERS_MAX = 2000

_HEADING = "# "
_NOTICE = ", written by twistd bender-haproxy, which overwrites what is changed here."


class ConfigRefused(Exception):
    """HAProxy refuses a configuration; the message is its output."""


class Unwritable(ConfigRefused):
    """A file cannot be written; the message has its name and the reason."""


@frozen
class WrittenConfig:
    """The content of the file: its text, and the description in its first line, if a driver wrote it."""

    text: str
    description: str | None


def lock_output(output: Path) -> IO[str]:
    """Keep other drivers from this file until the returned lock is closed, or this process ends in any way.

    Raises `ConfigRefused` if another driver has the lock. Two drivers would undo each other's changes, and stop each
    other's HAProxy.
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


def states_file_of(output: Path) -> Path:
    """Return the path of the state file, from which HAProxy takes the states of its servers at its start."""
    return output.absolute().with_name(f"{output.name}.states")


def _store(file: Path, text: str) -> None:
    file.write_text(text, "utf-8")


class ConfigFiles:
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
        self.states = _text(states_file_of(output))

    async def replace(self, rendered: RenderedConfig) -> WrittenConfig | None:
        """Write a configuration if HAProxy accepts it; return the previous one.

        Raises `ConfigRefused`. The file is unchanged if HAProxy refuses the configuration, or it is the same as before.
        """
        async with self._lock:
            return await self._replace(rendered)

    async def _replace(self, rendered: RenderedConfig) -> WrittenConfig | None:
        before = self.written
        text = f"{_HEADING}{rendered.description}{_NOTICE}\n{rendered.text}"
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
            with suppress(OSError):  # the draft is absent: it was moved, or could not be written, which was raised
                draft.unlink()
        self.written = WrittenConfig(text, rendered.description)
        return before

    async def _check_draft(self, draft: Path, text: str) -> None:
        """Raise `ConfigRefused` if it is wrong, with the file and line where that is a line of the operator's own."""
        try:
            await self._check(draft)
        except ConfigRefused as refused:
            raise ConfigRefused(with_files_and_lines(str(refused), text)) from None

    def restore(self, before: WrittenConfig | None) -> None:
        """Bring back the previous configuration, if there was one. Raises `Unwritable`."""
        if before is None or before == self.written:
            return
        self._write(self.output, before.text)
        self.written = before

    def forget_removed(self) -> None:
        """Note that the configuration file was removed, if it was."""
        if not self.output.exists():
            self.written = None

    def save_states(self, text: str) -> None:
        """Write the state file, with the servers that are down when HAProxy starts. Raises `Unwritable`."""
        if text != self.states:
            self._write(states_file_of(self.output), text)
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
            with suppress(OSError):  # the draft exists only if it could not be moved
                draft.unlink()

    def _read(self) -> WrittenConfig | None:
        text = _text(self.output)
        if text is None:
            return None
        first = text.partition("\n")[0]
        mine = first.startswith(_HEADING) and first.endswith(_NOTICE)
        return WrittenConfig(text, first[len(_HEADING) : -len(_NOTICE)] if mine else None)


def _text(file: Path) -> str | None:
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return None


async def check(reactor: IReactorTime, haproxy: str, draft: Path) -> None:
    """Check a configuration with the program `haproxy`. Raises `ConfigRefused`."""
    try:
        ran = await run_program(reactor, _check_command(haproxy, draft), CHECK_S_MAX)
    except CannotRun as error:
        raise ConfigRefused(f"{haproxy} {error}") from error
    _require_accepted(haproxy, draft, ran.status, ran.output)


def check_config_now(haproxy: str, draft: Path) -> None:
    """Check a configuration and block meanwhile, for use before the reactor runs. Raises `ConfigRefused`."""
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
