// Asks the node for something again and again, as long as somebody looks at it.

/** Return an async function that calls `ask`; who calls it while an answer is under way gets that one. */
export function shared(ask) {
  let asking = null;
  return () => (asking ??= ask().finally(() => (asking = null)));
}

/** Calls `ask`, an async function, every `everyMs` while it is on and the page is visible; never twice at a time. */
export class Poll {
  #ask;
  #everyMs;
  #on = false;
  #asking = false;
  #again = false;
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

  /** Ask now, and from now on. While an answer is under way, ask once more after it: it may be of before. */
  async now() {
    clearTimeout(this.#timer);
    this.#again = this.#asking;
    if (this.#asking) return;
    this.#asking = true;
    try {
      await this.#ask();
    } finally {
      this.#asking = false;
      clearTimeout(this.#timer);
      const waitMs = this.#again ? 0 : this.#everyMs;
      if (this.#on && !document.hidden) this.#timer = setTimeout(() => this.now(), waitMs);
    }
  }
}
