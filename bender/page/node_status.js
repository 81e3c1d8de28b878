// `GET /status` of the node, every two seconds: its peers and problems, and the rate of renewals.

import { Unreachable } from "./api.js";
import { shared } from "./poll.js";
import { Series } from "./sparkline.js";

/** Time limit for the answer. A working node answers at once, also under load. */
const ANSWER_MS = 5_000;

/** The number of rates that are kept: those of a minute. */
const VALUES = 30;

/** Two answers closer together than this give no useful rate. */
const RATE_INTERVAL_MS_MIN = 500;

/** Dispatches `change` after each answer, and after a request without an answer. */
export class NodeStatus extends EventTarget {
  /** The last answer, also if the node does not answer any more; null before the first one. */
  body = null;
  /** When the node was started, in ms since the epoch by the clock of the browser. */
  startedAt = 0;
  /** Whether the node answered the last request, also with an error. */
  answers = true;
  renewals = new Series(VALUES);
  /** Ask the node now. */
  ask = shared(() => this.#ask());
  #api;
  #before = null;

  constructor(api) {
    super();
    this.#api = api;
  }

  async #ask() {
    try {
      this.body = await this.#api.get("status", { timeoutMs: ANSWER_MS });
      this.answers = true;
      this.startedAt = Date.now() - 1000 * this.body.uptime;
      this.#measureRates();
    } catch (error) {
      this.answers = !(error instanceof Unreachable);
      this.#before = null;
    }
    this.dispatchEvent(new Event("change"));
  }

  /** Return the other nodes that clients can reach: `{node, url}`, for links to their pages. */
  get others() {
    const peers = this.body?.peers ?? [];
    return peers
      .filter((peer) => peer.api !== null && peer.state !== "left")
      .map((peer) => ({ node: peer.node, state: peer.state, url: `${location.protocol}//${peer.api}/` }));
  }

  get problems() {
    return Object.entries(this.body?.problems ?? {});
  }

  #measureRates() {
    const at = performance.now();
    const renewed = this.body.since_start.renewed;
    const before = this.#before;
    if (before?.incarnation === this.body.incarnation && at - before.at < RATE_INTERVAL_MS_MIN) return;
    this.#before = { at, renewed, incarnation: this.body.incarnation };
    if (before === null || before.incarnation !== this.body.incarnation) return;
    const perSecond = ((renewed - before.renewed) * 1000) / (at - before.at);
    this.renewals.push(Math.max(0, perSecond));
  }
}
