// The node's events, as long as the page is open. After a lost connection the stream resumes without a gap.

import { ApiError } from "./api.js";
import { eventBatches } from "./event_stream.js";

/** A node sends at least a tick every 15 s, so a connection without data for this time is dead. */
const SILENCE_MS = 20_000;

const RETRY_MS_MIN = 250;
const RETRY_MS_MAX = 5_000;

/** A hidden page closes its connection after this time, because a browser has only six connections for one host. */
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
    if (document.hidden) this.#visibilityChanged(); // the page was opened in the background
  }

  /** Connect now, without waiting for the next attempt. */
  reconnect() {
    clearTimeout(this.#timer);
    this.#aborter?.abort();
    const aborter = (this.#aborter = new AbortController());
    this.#follow(aborter).catch((error) => this.#ended(aborter, error));
  }

  /** End the connection, because the node does not answer other requests. A node that hangs does not close it. */
  drop() {
    this.#aborter?.abort(new Error("the node does not answer"));
  }

  async #follow(aborter) {
    const resume = this.#cursor === null ? {} : { "Last-Event-ID": this.#cursor };
    const silenceTimer = new SilenceTimer(aborter);
    try {
      const response = await this.#api.fetch("events?snapshot=true", {
        headers: { ...this.#api.headers(), Accept: "text/event-stream", ...resume },
        signal: aborter.signal,
      });
      if (!response.ok) throw new ApiError(response.status, await response.json().catch(() => null));
      for await (const events of eventBatches(response.body)) {
        silenceTimer.restart();
        if (events.length) this.#receive(events);
      }
      throw new Error("the node closed the connection");
    } finally {
      silenceTimer.stop();
    }
  }

  #receive(events) {
    this.#cursor = events.at(-1).id;
    this.#failures = 0;
    if (this.state !== "live") this.#setState("live");
    this.dispatchEvent(new CustomEvent("batch", { detail: events.map((event) => JSON.parse(event.data)) }));
  }

  #ended(aborter, error) {
    if (aborter !== this.#aborter) return; // another connection has taken its place
    if (error.code === "UNAUTHORIZED" || error.code === "FORBIDDEN") {
      this.#setState("refused", error.message);
      this.#api.dispatchEvent(new CustomEvent("unauthorized", { detail: error }));
      return;
    }
    const waitMs = Math.min(RETRY_MS_MAX, RETRY_MS_MIN * 2 ** this.#failures) * (0.5 + Math.random() / 2);
    this.#failures += 1;
    this.#setState(error.code === "NOT_READY" ? "not-ready" : "lost", error.message);
    this.#timer = setTimeout(() => this.reconnect(), waitMs);
  }

  #setState(state, problem = null) {
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
      this.#setState("connecting");
      this.reconnect();
    }
  }

  #hide() {
    clearTimeout(this.#timer);
    const aborter = this.#aborter;
    this.#aborter = null;
    aborter?.abort();
    this.#setState("hidden");
  }
}

/** Aborts a connection that delivers no data for `SILENCE_MS`. */
class SilenceTimer {
  #timer;
  #aborter;

  constructor(aborter) {
    this.#aborter = aborter;
    this.restart();
  }

  /** Start the time again, because data came. */
  restart() {
    this.stop();
    this.#timer = setTimeout(() => this.#aborter.abort(new Error("nothing came for 20 s")), SILENCE_MS);
  }

  stop() {
    clearTimeout(this.#timer);
  }
}
