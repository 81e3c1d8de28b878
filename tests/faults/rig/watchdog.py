"""The watchdog: measures how long processes had to wait for a processor.

The watchdog is a process. It repeatedly sleeps for a moment, and reports by how much it woke too late. It also reads
how long each process in a file was runnable without running (`/proc/PID/schedstat`). Each line of this file is
`NAME PID`. Each line on stdout is a fact `Starved`, if a process had to wait for longer than `LATE_S`.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.faults.facts import Starved, encode
from tests.faults.rig.recorder import now

#: The time between two measurements, and the shortest wait that is reported.
LOOK_S = 0.05
LATE_S = 0.015


def main(file: Path) -> None:
    parent = os.getppid()
    waited: dict[str, int] = {}
    before = now()
    while os.getppid() == parent:
        time.sleep(LOOK_S)
        at = now()
        own_s = at - before - LOOK_S
        late = dict(_late(file, waited))
        if late or own_s > LATE_S:
            fact = Starved(at=at, began_at=before, late_s=round(own_s, 4), nodes=late)
            sys.stdout.buffer.write(encode(fact))
            sys.stdout.buffer.flush()
        before = at


def _late(file: Path, waited: dict[str, int]) -> Iterator[tuple[str, float]]:
    """Yield the nodes that have waited since the last call, with the seconds. `waited` has nanoseconds by process."""
    for line in file.read_text("ascii").splitlines():
        name, _, pid = line.partition(" ")
        try:
            total = int(Path(f"/proc/{pid}/schedstat").read_text("ascii").split()[1])
        except (OSError, IndexError):
            continue
        late_s = (total - waited.get(line, total)) / 1e9
        waited[line] = total
        if late_s > LATE_S:
            yield name, round(late_s, 4)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
