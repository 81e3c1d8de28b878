// The events that the page has: those since it was opened, and earlier ones that it has loaded from the node.

/** Beyond this number the oldest events are dropped, so that the page does not use more and more memory. */
const EVENTS_MAX = 5_000;

/** The number of earlier events that the page loads when it is opened. */
const EARLIER = 500;

/** The number of events that a node can return. */
export const EARLIER_MAX = 10_000;

const KINDS = { online: "online", offline: "offline", changed: "changed", created: "settings", removed: "settings" };

/** Dispatches `change` after new events. */
export class EventLog extends EventTarget {
  /** The events in order of time, the oldest first. */
  events = [];
  /** The number of events that came since the page was opened. */
  total = 0;
  #api;
  #cursors = new Set();

  constructor(api) {
    super();
    this.#api = api;
  }

  /** Add events of the stream, but not the snapshot at its beginning. */
  apply(events) {
    const happened = events.filter((event) => event.event in KINDS && !event.snapshot);
    if (!happened.length) return;
    this.total += happened.length;
    this.#add(happened);
    this.#trim();
    this.dispatchEvent(new Event("change"));
  }

  /** Load the last events that the node has. Throws the errors of `Api.get`. */
  async loadEarlier(last = EARLIER) {
    const { events } = await this.#api.get(`events?last=${last}`, { timeoutMs: 20_000 });
    const before = events.filter((event) => event.event in KINDS && !this.#cursors.has(event.cursor));
    const now = this.events;
    this.events = [];
    this.#add(before);
    // Later events may have come by the stream while the answer was under way; so sort all of them.
    this.events = [...this.events, ...now].sort((a, b) => a.at - b.at);
    this.#trim(Math.max(EVENTS_MAX, last));
    this.dispatchEvent(new Event("change"));
  }

  #add(events) {
    for (const event of events) {
      if (this.#cursors.has(event.cursor)) continue;
      this.#cursors.add(event.cursor);
      this.events.push(event);
    }
  }

  /** Drop the oldest events, at least 500 at a time. */
  #trim(max = EVENTS_MAX) {
    if (this.events.length <= max + 500) return;
    for (const event of this.events.splice(0, this.events.length - max)) this.#cursors.delete(event.cursor);
  }
}

/** Return the kind of an event: `online`, `offline`, `changed` or `settings`. */
export function kindOf(event) {
  return event.registration ? KINDS[event.event] : "settings";
}

/** Return the registration, backend or frontend of an event. */
export function subjectOf(event) {
  return event.registration ?? event.backend ?? event.frontend;
}

/** Return a description of an event: "offline, expired". */
export function whatOf(event) {
  const { event: kind, reason, registration } = event;
  if (kind === "changed" && reason === "configured" && registration)
    return `state set to ${registration.state ?? "up"}`;
  return [event.event, event.registration && event.reason].filter(Boolean).join(", ");
}

/** Return a description of the setting that a backend or frontend has after an event; empty for registrations. */
export function settingOf({ event, backend, frontend }) {
  if (event === "removed") return "";
  if (frontend) return `to ${frontend.backend ?? "no backend"}`;
  if (!backend) return "";
  const canary = backend.canary ? `, ${backend.canary.percent} % to ${backend.canary.version}` : "";
  return `${backend.app} ${backend.version}${canary}`;
}
