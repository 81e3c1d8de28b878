// Repeats requests to the node while the page is visible.

/** Return an async function that calls `ask`. Calls before its answer has come share that answer. */
export function shared(ask) {
  let asking = null;
  return () => (asking ??= ask().finally(() => (asking = null)));
}

/** Calls `ask`, an async function, every `everyMs` after `start`, while the page is visible; never twice at a time. */
export class Poll {
  #ask;
  #everyMs;
  #on = false;
  #asking = false;
  #repeat = false;
  #timer = null;

  constructor(everyMs, ask) {
    this.#everyMs = everyMs;
    this.#ask = ask;
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden && this.#on) this.now();
    });
  }

  start() {
    if (this.#on) return;
    this.#on = true;
    this.now();
  }

  stop() {
    this.#on = false;
    clearTimeout(this.#timer);
  }

  /** Call `ask` now. If a call is under way, call it once more afterwards, because that answer may be too old. */
  async now() {
    clearTimeout(this.#timer);
    this.#repeat = this.#asking;
    if (this.#asking) return;
    this.#asking = true;
    try {
      await this.#ask();
    } finally {
      this.#asking = false;
      clearTimeout(this.#timer);
      const waitMs = this.#repeat ? 0 : this.#everyMs;
      if (this.#on && !document.hidden) this.#timer = setTimeout(() => this.now(), waitMs);
    }
  }
}
