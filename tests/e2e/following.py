"""`python -m tests.e2e.following PAGE FOLDER` runs the blocks of a page in this folder, and compares the output.

The command must run in separate network and process namespaces (`alone`), in which it can use the addresses of the
pages, and in which all its processes end with it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from attrs import define, field

from tests.e2e.pages import SHOWN, TYPED, Block, blocks, like
from tests.e2e.terminals import NotSo, Terminal
from tests.twistd_command import ROOT

#: The addresses of the machines in the pages; all are addresses of this machine.
MACHINES = ("10.0.0.1", "10.0.0.2", "10.0.0.3")

#: The path of programs for the pages: this environment, the machine, and `make test-deps`.
PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}:{ROOT / '.deps/debian'}"

#: Files that are not part of a fresh checkout.
LEFT_BEHIND = ("build", "dist", "__pycache__")


def alone(*command: str) -> list[str]:
    """Return a command that runs another one as the first process of a namespace without a network. Needs Linux."""
    return ["unshare", "--map-root-user", "--net", "--pid", "--fork", "--kill-child", *command]


def checkout(folder: Path) -> Path:
    """Make a checkout that uses the packages of this one. The commands of a page can write there."""
    environment = folder / ".venv"
    environment.mkdir(parents=True)
    for path in ROOT.iterdir():
        if not path.name.startswith(".") and path.name not in LEFT_BEHIND and path.suffix != ".egg-info":
            (folder / path.name).symlink_to(path)
    for path in Path(sys.prefix).iterdir():
        if not path.name.startswith(("made", "ready")):
            (environment / path.name).symlink_to(path)
    for mark in ("made", "ready"):  # in this order, because `make` compares their times
        (environment / mark).touch()
    return folder


def variables(folder: Path) -> dict[str, str]:
    """Return the variables of a new user, with local packages instead of a package index."""
    home, installed = folder / "home", folder / "installed"
    home.mkdir()
    # The reader sees the body of a refused request, and the test sees its status.
    (home / ".curlrc").write_text("fail-with-body\n")
    return {
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "PATH": PATH,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # pip reads this variable with the opposite meaning
        "PIP_NO_DEPS": "1",
        "PIP_NO_INDEX": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
        "PIP_TARGET": str(installed),
        "PYTHONPATH": str(installed),
        "TERM": "dumb",
        "VIRTUAL_ENV_DISABLE_PROMPT": "1",  # the test sets the prompt
    }


@define
class Reader:
    """The reader of a page, who types its blocks. `terminals` are by their numbers on the page."""

    folder: Path
    variables: dict[str, str]
    terminals: dict[str, Terminal] = field(factory=dict)
    last: dict[str, str] = field(factory=lambda: {"sh": "1", "python": "python"})
    language: str = "sh"  # of the last block that was typed

    def do(self, block: Block) -> None:
        """Type a block, write it into its file, or check that its terminal shows it."""
        if "not run" in block.notes:
            return
        if "file" in block.notes:
            (self.folder / block.notes["file"]).write_text(block.text, "utf-8")
        elif block.language in TYPED:
            self.language = block.language
            name = self.last[block.language] = block.notes.get("terminal", self.last[block.language])
            self._terminal(name).type(block.text, block.notes.get("until"), may_fail="fails" in block.notes)
        elif block.language in SHOWN:
            self._terminal(block.notes.get("terminal", self.last[self.language])).show(like(block))

    def _terminal(self, name: str) -> Terminal:
        if name not in self.terminals:
            scratch = self.folder.parent / f"typed-{name}"
            self.terminals[name] = Terminal(self.language, self.folder, self.variables, scratch, self._look)
        return self.terminals[name]

    def _look(self) -> None:
        for terminal in self.terminals.values():
            terminal.look()


def main(page: str, folder: str) -> int:
    # A script's background processes, and their children, would ignore SIGINT, and Ctrl-C would have no effect.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for command in ("link set lo up", *(f"addr add {address}/32 dev lo" for address in MACHINES)):
        subprocess.run(["ip", *command.split()], check=True)
    reader = Reader(checkout(Path(folder) / "bender"), variables(Path(folder)))
    for block in blocks(Path(page).read_text("utf-8")):
        try:
            reader.do(block)
        except NotSo as wrong:
            print(f"{page}:{block.line}: {wrong}\n\nThis is the block:\n{block.text}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
