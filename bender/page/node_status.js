// `GET /status` of the node, every two seconds: its peers and problems, and the rates that follow from its counters.

import { Unreachable } from "./api.js";
import { shared } from "./poll.js";
import { Series } from "./sparkline.js";

/** A node that is well answers this at once, also under load. */
const ANSWER_MS = 5_000;

/** Values of a minute. */
const VALUES = 30;

/** Two looks that are closer say nothing about a rate. */
const APART_MS = 500;

/** Dispatches `change` after each answer, and when there is none. */
export class NodeStatus extends EventTarget {
  /** The last answer; it stays when the node does not answer any more. */
  body = null;
  /** When the node was started, in ms since the epoch by the clock of the browser. */
  startedAt = 0;
  /** Whether the node answered the last request, with whatever. */
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
      this.#rates();
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

  #rates() {
    const at = performance.now();
    const renewed = this.body.since_start.renewed;
    const before = this.#before;
    if (before?.incarnation === this.body.incarnation && at - before.at < APART_MS) return;
    this.#before = { at, renewed, incarnation: this.body.incarnation };
    if (before === null || before.incarnation !== this.body.incarnation) return;
    const perSecond = ((renewed - before.renewed) * 1000) / (at - before.at);
    this.renewals.push(Math.max(0, perSecond));
  }
}
