// The reports of load balancers: the requests for each version, and which changes each load balancer has applied.

import { shared } from "./poll.js";

/** The time over which the share of a version is measured. */
const WINDOW_MS = 60_000;

/** After a longer gap between two answers, the measurement begins again. */
const GAP_MS = 15_000;

/** Return a count of no requests for one version, and no errors among them. */
function zeroCount() {
  return { requests: 0, errors: 0 };
}

/** Dispatches `change` after each request for the consumers. */
export class Traffic extends EventTarget {
  /** The last answer to `GET /consumers`. */
  consumers = [];
  problem = null;
  /** Ask the node now. */
  ask = shared(() => this.#ask());
  #api;
  // The last counts, by consumer, backend and version. They grow, or begin at 0 again.
  #last = new Map();
  // The differences in the last minute: `{at, counts}`, the counts by backend and version.
  #differences = [];
  #down = new Set();

  constructor(api) {
    super();
    this.#api = api;
  }

  async #ask() {
    try {
      this.consumers = await this.#api.get("consumers");
      this.problem = null;
      this.#count();
      this.#down = downByMost(this.consumers);
    } catch (error) {
      this.problem = error.message;
    }
    this.dispatchEvent(new Event("change"));
  }

  /** Return true if more than half of the load balancers that report on their checks find an instance down. */
  isDown(id) {
    return this.#down.has(id);
  }

  /** Whether a load balancer reports its requests. */
  get hasReports() {
    return this.#reports().length > 0;
  }

  /** Return the requests and errors of the versions of a backend in the last minute, by version. */
  counts(backend) {
    const sums = new Map();
    for (const { counts } of this.#differences) {
      for (const [version, count] of counts.get(backend) ?? []) {
        const sum = sums.get(version) ?? zeroCount();
        sums.set(version, { requests: sum.requests + count.requests, errors: sum.errors + count.errors });
      }
    }
    return sums;
  }

  /** The number of seconds over which requests are counted, at most 60. */
  get measuredS() {
    return this.#differences.length < 2 ? 0 : (Date.now() - this.#differences[0].at) / 1000;
  }

  #reports() {
    return this.consumers.filter((consumer) => consumer.connected && consumer.report?.backends);
  }

  #count() {
    const at = Date.now();
    if (this.#differences.length && at > this.#differences.at(-1).at + GAP_MS) {
      // The page was hidden for a while, so the differences since then are not of the last minute.
      this.#last = new Map();
      this.#differences = [];
    }
    const counts = new Map();
    const last = new Map();
    for (const { name, instance, report } of this.#reports()) {
      for (const [backend, versions] of Object.entries(report.backends)) {
        for (const [version, count] of Object.entries(versions)) {
          const key = JSON.stringify([name, instance, backend, version]);
          const before = this.#last.get(key) ?? count; // a first report does not show the requests of the last minute
          last.set(key, count);
          add(counts, backend, version, difference(count, before));
        }
      }
    }
    this.#last = last;
    this.#differences.push({ at, counts });
    while (this.#differences.length && this.#differences[0].at < at - WINDOW_MS) this.#differences.shift();
  }
}

/** Return the ids that are down in more than half of the reports that have results of checks. */
function downByMost(consumers) {
  const reports = consumers
    .filter(({ connected, report }) => connected && report?.down)
    .map(({ report }) => report.down);
  const sums = new Map();
  for (const id of reports.flat()) sums.set(id, (sums.get(id) ?? 0) + 1);
  return new Set([...sums].filter(([, sum]) => 2 * sum > reports.length).map(([id]) => id));
}

function add(counts, backend, version, count) {
  if (!counts.has(backend)) counts.set(backend, new Map());
  const versions = counts.get(backend);
  const sum = versions.get(version) ?? zeroCount();
  versions.set(version, { requests: sum.requests + count.requests, errors: sum.errors + count.errors });
}

/** Return the difference between two counts; the new count if the counter has begun again. */
function difference(count, before) {
  const again = count.requests < before.requests || count.errors < before.errors;
  return again ? count : { requests: count.requests - before.requests, errors: count.errors - before.errors };
}
