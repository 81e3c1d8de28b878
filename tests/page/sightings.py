"""Measures when a page shows a change, by the machine's clock, which page, nodes and tests share."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from attrs import define
from playwright.sync_api import JSHandle, Page

from tests.e2e.nodes import PATIENCE_S

#: The time in which a page shows a change.
SOON_MS = 1000

#: The steps from a change to the element that shows it, each as late as the slowest answer to a simple request: as in
#: `tests.e2e.yardsticks`, this allows for the present delays of the machine.
STEPS = 10

#: Checks the document after each of its changes, so that the check adds no delay to the measured time.
LOOK = """([selector, pattern, gone, patienceMs]) => {
    const text = new RegExp(pattern);
    const shown = () => [...document.querySelectorAll(selector)].some((each) => text.test(each.textContent));
    if (shown() !== gone) throw new Error(`before anything happens, ${selector} with ${text}: ${!gone}`);
    let slowestMs = 0;
    const measure = async () => {
        const began = performance.now();
        await fetch("ready", { cache: "no-store" }).then((answer) => answer.text()).catch(() => undefined);
        slowestMs = Math.max(slowestMs, performance.now() - began);
    };
    measure();
    const measuring = setInterval(measure, 200);
    const seen = new Promise((resolve, reject) => {
        const observer = new MutationObserver(() => {
            if (shown() === gone) return;
            observer.disconnect();
            clearInterval(measuring);
            resolve({ atMs: Date.now(), slowestMs });
        });
        observer.observe(document, { subtree: true, childList: true, characterData: true, attributes: true });
        setTimeout(() => reject(new Error(`never seen: ${selector} with ${text}`)), patienceMs);
    });
    seen.catch(() => undefined);
    return { seen };
}"""


def now_ms() -> float:
    return time.time() * 1000


@define
class Sighting:
    """An expected change of a page. `since_ms` is its cause's time, by default the end of the block."""

    _handle: JSHandle
    since_ms: float | None = None

    def delay_ms(self) -> float:
        """Wait for the change; return the time from `since_ms` until then, without the delays of the machine."""
        seen = self._handle.evaluate("({ seen }) => seen")
        assert self.since_ms is not None
        delay_ms: float = seen["atMs"] - self.since_ms - STEPS * seen["slowestMs"]
        return delay_ms


@contextmanager
def expect_soon(page: Page, selector: str, pattern: str, *, gone: bool = False) -> Iterator[Sighting]:
    """Expect that an element whose text has this pattern appears, or disappears, within a second of the block.

    The second begins with the end of the block: when the request was answered, or the dialog's button was clicked.
    """
    sighting = Sighting(page.evaluate_handle(LOOK, [selector, pattern, gone, PATIENCE_S * 1000]))
    yield sighting
    sighting.since_ms = sighting.since_ms or now_ms()
    delay_ms = sighting.delay_ms()
    assert delay_ms < SOON_MS, f"{selector} with {pattern} after {delay_ms:.0f} ms"
