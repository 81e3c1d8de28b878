"""The speed of the page in headless Chromium while the registry changes.

Two nodes have 10,000 registrations, of which 100 a second change their weight, end or come back. These changes are made
at one node, and the page is opened at the other one. The first paint is the time from the request for the page until
rows of the complete list are drawn. The frames are the times between two pictures, half of them while the list is
scrolled. The memory is that of the page's JavaScript after a garbage collection.
"""

from __future__ import annotations

import random
import time
from functools import partial
from threading import Event

from attrs import field, frozen
from playwright.sync_api import Browser, CDPSession, Page

from bench.figures import Target, arguments, percentile, print_line, print_table, spread, write
from bench.nodes import Connection, Node, cluster, delete, fill, path_of, weight_request
from bench.peers import set_up
from tests.background import in_background
from tests.page.browsers import started

CHANGES_PER_S = 100

#: A tenth of the changes ends a registration, and the next one brings it back.
ENDS_EVERY = 10

TARGET_PAINT_MS = 1000.0
TARGET_FRAME_MS = 100.0
TARGET_GROWTH_PERCENT = 5.0

#: Time limit for the first rows.
PATIENCE_S = 60.0

#: The list of the last changes and of the events fills in this time.
WARM_UP_S = 60.0

#: The list stands for this time, and is scrolled for the next.
TURN_S = 10.0

SCROLLS_APART_S = 0.1
SCROLL_PX = 400

#: Notes when the complete list is drawn, and the time of each frame.
PROBE = """
window.painted = null;
window.frames = [];
let last = null;
requestAnimationFrame(function frame(now) {
    if (last !== null) window.frames.push(now - last);
    last = now;
    if (window.painted === null && window.page?.registry.synced && document.querySelector(".row.instance")) {
        // The next frame begins when this one has been painted.
        requestAnimationFrame(() => { window.painted ??= performance.now(); });
    }
    requestAnimationFrame(frame);
});
"""


@frozen
class Run:
    """The first paint, the frames while the list stands and while it is scrolled, and the memory after each turn."""

    paint_ms: float
    standing_ms: list[float] = field(factory=list)
    scrolled_ms: list[float] = field(factory=list)
    memory_bytes: list[float] = field(factory=list)
    elements: list[float] = field(factory=list)

    @property
    def frames_ms(self) -> list[float]:
        return [*self.standing_ms, *self.scrolled_ms]

    @property
    def growth_percent(self) -> float:
        """Return the growth of the mean memory from the first to the second half, in percent."""
        half = len(self.memory_bytes) // 2
        first, second = self.memory_bytes[:half], self.memory_bytes[-half:]
        return 100 * (sum(second) / sum(first) - 1)


def change(node: Node, count: int, is_over: Event) -> None:
    """Change registrations at a node, `CHANGES_PER_S` times a second, until an event."""
    choices = random.Random(1)  # noqa: S311 - the same changes in each run
    with Connection(node.api) as connection:
        began, changes = time.monotonic(), 0
        while not is_over.wait(max(0.0, began + changes / CHANGES_PER_S - time.monotonic())):
            number = choices.randrange(count)
            if changes % ENDS_EVERY == 0:
                connection.ask(delete(path_of(number)))
                changes += 1
            connection.ask(weight_request(number, choices.randint(1, 256)))
            changes += 1


def watch(browser: Browser, node: Node, seconds: float) -> Run:
    """Open the page, and measure it for a time. In turns, the list stands still and is scrolled."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.add_init_script(PROBE)
    page.goto(f"http://127.0.0.1:{node.api}/")
    run = Run(painted(page))
    inspector = context.new_cdp_session(page)
    page.wait_for_timeout(1000 * min(WARM_UP_S, seconds / 2))
    for turn in range(max(2, round(seconds / TURN_S))):
        scroll = turn % 2 == 1
        (run.scrolled_ms if scroll else run.standing_ms).extend(frames(page, scroll=scroll))
        memory_bytes, elements = memory_of(inspector)
        run.memory_bytes.append(memory_bytes)
        run.elements.append(elements)
    context.close()
    return run


def painted(page: Page) -> float:
    """Wait until the complete list is drawn; return the milliseconds from the request for the page until then."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        at_ms: float | None = page.evaluate("() => window.painted")
        if at_ms is not None:
            return at_ms
        page.wait_for_timeout(10)
    raise SystemExit("The page does not show the list.")


def frames(page: Page, *, scroll: bool) -> list[float]:
    """Return the times between two frames in a turn."""
    page.mouse.move(640, 400)
    # What came before is ours: garbage is collected between turns.
    page.evaluate("() => { window.frames = []; }")
    until = time.monotonic() + TURN_S
    while time.monotonic() < until:
        if scroll:
            page.mouse.wheel(0, random.choice((SCROLL_PX, SCROLL_PX, -SCROLL_PX)))  # noqa: S311
        page.wait_for_timeout(1000 * SCROLLS_APART_S)
    taken: list[float] = page.evaluate("() => window.frames")
    return taken


def memory_of(inspector: CDPSession) -> tuple[float, float]:
    """Collect garbage, and return the bytes of JavaScript objects and the number of nodes of documents."""
    inspector.send("HeapProfiler.enable")
    inspector.send("HeapProfiler.collectGarbage")
    counts = inspector.send("Memory.getDOMCounters")
    return inspector.send("Runtime.getHeapUsage")["usedSize"], counts["nodes"]


def main() -> None:
    parser = arguments(__doc__)
    parser.set_defaults(repetitions=1)
    parser.add_argument("--registrations", type=int, default=10_000, help="(default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=300.0, help="of looking at it (default: %(default)s)")
    options = parser.parse_args()
    runs: list[Run] = []
    with cluster(2) as (first, second), started(set_up("chromium")) as browser:
        fill(first, options.registrations, ttl_s=3600)
        with in_background(partial(change, first, options.registrations)):
            for number in range(options.repetitions):
                print_line(f"repetition {number + 1} of {options.repetitions}")
                runs.append(watch(browser, second, options.seconds))
    report(runs, options.registrations)
    targets = [
        Target("first paint of the complete list", [run.paint_ms for run in runs], "ms", most=TARGET_PAINT_MS),
        Target("frame, p99", [percentile(run.frames_ms, 99) for run in runs], "ms", most=TARGET_FRAME_MS),
        Target("growth of memory", [run.growth_percent for run in runs], "%", most=TARGET_GROWTH_PERCENT),
    ]
    write("page", options.json, {"registrations": options.registrations, "runs": runs}, targets)


def report(runs: list[Run], count: int) -> None:
    rows = []
    for name in ("standing", "scrolled"):
        each = [getattr(run, f"{name}_ms") for run in runs]
        values = [spread([percentile(ms, share) for ms in each], 1) for share in (50, 99, 100)]
        rows.append([f"the list is {name}", *values])
    print_table(
        f"frames with {count:,} registrations and {CHANGES_PER_S} changes/s, in ms",
        ["", "median", "p99", "longest"],
        rows,
    )
    memory = [[bytes_ / 1e6 for bytes_ in run.memory_bytes] for run in runs]
    rows = [["MB of JavaScript", *(f"{values[0]:.1f} to {values[-1]:.1f}" for values in memory)]]
    rows.append(["nodes of the document", *(f"{run.elements[0]:,.0f} to {run.elements[-1]:,.0f}" for run in runs)])
    print_table("from the first to the last turn", ["", *(f"run {number + 1}" for number in range(len(runs)))], rows)


if __name__ == "__main__":
    main()
