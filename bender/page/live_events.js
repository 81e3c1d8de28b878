// The events of the node, for as long as the page is open: it resumes where it was, and says how the connection is.

import { ApiError } from "./api.js";
import { batches } from "./event_stream.js";

/** A node sends at least a tick every 15 s; with nothing for this long, the connection is dead. */
const SILENCE_MS = 20_000;

const RETRY_MS_MIN = 250;
const RETRY_MS_MAX = 5_000;

/** A page that nobody sees gives its connection back after this: a browser has only six for one host. */
const HIDDEN_MS = 30_000;

/**
 * Dispatches `batch` (detail: an array of events) and `state`.
 *
 * `state` is one of `connecting`, `live`, `lost`, `not-ready`, `refused` (the token) and `hidden`; `problem` is the
 * reason in words, and `since` when it began (ms since the epoch).
 */
export class LiveEvents extends EventTarget {
  state = "connecting";
  problem = null;
  since = Date.now();
  #api;
  #cursor = null;
  #failures = 0;
  #aborter = null;
  #timer = null;
  #hideTimer = null;

  constructor(api) {
    super();
    this.#api = api;
    api.addEventListener("token", () => this.reconnect());
    document.addEventListener("visibilitychange", () => this.#visibilityChanged());
    window.addEventListener("online", () => this.state === "hidden" || this.reconnect());
    if (document.hidden) this.#visibilityChanged(); // it was opened behind another page
  }

  /** Connect now, whatever it waits for. */
  reconnect() {
    clearTimeout(this.#timer);
    this.#aborter?.abort();
    const aborter = (this.#aborter = new AbortController());
    this.#follow(aborter).catch((error) => this.#ended(aborter, error));
  }

  /** End the connection, because the node does not answer elsewhere: one that hangs closes nothing. */
  drop() {
    this.#aborter?.abort(new Error("the node does not answer"));
  }

  async #follow(aborter) {
    const resume = this.#cursor === null ? {} : { "Last-Event-ID": this.#cursor };
    const silence = new Silence(aborter);
    try {
      const response = await this.#api.fetch("events?snapshot=true", {
        headers: { ...this.#api.headers(), Accept: "text/event-stream", ...resume },
        signal: aborter.signal,
      });
      if (!response.ok) throw new ApiError(response.status, await response.json().catch(() => null));
      for await (const events of batches(response.body)) {
        silence.ended();
        if (events.length) this.#take(events);
      }
      throw new Error("the node closed the connection");
    } finally {
      silence.stop();
    }
  }

  #take(events) {
    this.#cursor = events.at(-1).id;
    this.#failures = 0;
    if (this.state !== "live") this.#become("live");
    this.dispatchEvent(new CustomEvent("batch", { detail: events.map((event) => JSON.parse(event.data)) }));
  }

  #ended(aborter, error) {
    if (aborter !== this.#aborter) return; // another connection has taken its place
    if (error.code === "UNAUTHORIZED" || error.code === "FORBIDDEN") {
      this.#become("refused", error.message);
      this.#api.dispatchEvent(new CustomEvent("unauthorized", { detail: error }));
      return;
    }
    const waitMs = Math.min(RETRY_MS_MAX, RETRY_MS_MIN * 2 ** this.#failures) * (0.5 + Math.random() / 2);
    this.#failures += 1;
    this.#become(error.code === "NOT_READY" ? "not-ready" : "lost", error.message);
    this.#timer = setTimeout(() => this.reconnect(), waitMs);
  }

  #become(state, problem = null) {
    if (state !== this.state) this.since = Date.now();
    this.state = state;
    this.problem = problem;
    this.dispatchEvent(new Event("state"));
  }

  #visibilityChanged() {
    clearTimeout(this.#hideTimer);
    if (document.hidden) {
      this.#hideTimer = setTimeout(() => this.#hide(), HIDDEN_MS);
    } else if (this.state === "hidden") {
      this.#become("connecting");
      this.reconnect();
    }
  }

  #hide() {
    clearTimeout(this.#timer);
    const aborter = this.#aborter;
    this.#aborter = null;
    aborter?.abort();
    this.#become("hidden");
  }
}

/** Aborts a connection on which nothing comes. */
class Silence {
  #timer;
  #aborter;

  constructor(aborter) {
    this.#aborter = aborter;
    this.ended();
  }

  /** Something came. */
  ended() {
    this.stop();
    this.#timer = setTimeout(() => this.#aborter.abort(new Error("nothing came for 20 s")), SILENCE_MS);
  }

  stop() {
    clearTimeout(this.#timer);
  }
}
