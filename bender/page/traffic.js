// What load balancers report: how many requests went to each version, and how far each has got with its changes.

import { shared } from "./poll.js";

/** The share of a version is measured over this time. */
const WINDOW_MS = 60_000;

/** Looks that are further apart than this are not of one measurement. */
const GAP_MS = 15_000;

/** Requests of one version, and how many of them failed. */
function none() {
  return { requests: 0, errors: 0 };
}

/** Dispatches `change` after each look at the consumers. */
export class Traffic extends EventTarget {
  /** As `GET /consumers` answers. */
  consumers = [];
  problem = null;
  /** Ask the node now. */
  ask = shared(() => this.#ask());
  #api;
  // The last counts, by reporter, backend and version; they only ever rise, or begin at 0 again.
  #last = new Map();
  // The differences of the last minute: `{at, counts}`, the counts by backend and version.
  #looks = [];
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

  /** Whether any load balancer reports its requests. */
  get reported() {
    return this.#reports().length > 0;
  }

  /** Return the requests and errors of the versions of a backend in the last minute, by version. */
  counts(backend) {
    const sums = new Map();
    for (const { counts } of this.#looks) {
      for (const [version, count] of counts.get(backend) ?? []) {
        const sum = sums.get(version) ?? none();
        sums.set(version, { requests: sum.requests + count.requests, errors: sum.errors + count.errors });
      }
    }
    return sums;
  }

  /** Return for how many seconds it has measured, at most a minute. */
  get measuredS() {
    return this.#looks.length < 2 ? 0 : (Date.now() - this.#looks[0].at) / 1000;
  }

  #reports() {
    return this.consumers.filter((consumer) => consumer.connected && consumer.report?.backends);
  }

  #count() {
    const at = Date.now();
    if (this.#looks.length && at > this.#looks.at(-1).at + GAP_MS) {
      // Nobody looked for a while: what was counted since is not of the last minute.
      this.#last = new Map();
      this.#looks = [];
    }
    const counts = new Map();
    const last = new Map();
    for (const { name, instance, report } of this.#reports()) {
      for (const [backend, versions] of Object.entries(report.backends)) {
        for (const [version, count] of Object.entries(versions)) {
          const key = JSON.stringify([name, instance, backend, version]);
          const before = this.#last.get(key) ?? count; // a first report says nothing about the last minute
          last.set(key, count);
          add(counts, backend, version, since(count, before));
        }
      }
    }
    this.#last = last;
    this.#looks.push({ at, counts });
    while (this.#looks.length && this.#looks[0].at < at - WINDOW_MS) this.#looks.shift();
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
  const sum = versions.get(version) ?? none();
  versions.set(version, { requests: sum.requests + count.requests, errors: sum.errors + count.errors });
}

/** Return the count after another one; all of it if the counter has begun again. */
function since(count, before) {
  const again = count.requests < before.requests || count.errors < before.errors;
  return again ? count : { requests: count.requests - before.requests, errors: count.errors - before.errors };
}
