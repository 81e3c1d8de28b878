// The events that the page knows: those before it was opened, as far as it asked for them, and those since.

/** The oldest are dropped beyond this, so that the page does not grow. */
const EVENTS_MAX = 5_000;

/** The events of before that are asked for at the beginning. */
const EARLIER = 500;

/** How many of the node's events can be asked for. */
export const EARLIER_MAX = 10_000;

const KINDS = { online: "online", offline: "offline", changed: "changed", created: "settings", removed: "settings" };

/** Dispatches `change` after new events. */
export class EventLog extends EventTarget {
  /** In order, the oldest first. */
  events = [];
  /** The number of all events that came while the page was open. */
  total = 0;
  #api;
  #cursors = new Set();

  constructor(api) {
    super();
    this.#api = api;
  }

  /** Take what the node sends; only what happened, not the list that it begins with. */
  apply(events) {
    const happened = events.filter((event) => event.event in KINDS && !event.snapshot);
    if (!happened.length) return;
    this.total += happened.length;
    this.#add(happened);
    this.#trim();
    this.dispatchEvent(new Event("change"));
  }

  /** Ask for events of before. Throws as `Api.get`. */
  async loadEarlier(last = EARLIER) {
    const { events } = await this.#api.get(`events?last=${last}`, { timeoutMs: 20_000 });
    const before = events.filter((event) => event.event in KINDS && !this.#cursors.has(event.cursor));
    const now = this.events;
    this.events = [];
    this.#add(before);
    // Later events may have come by the stream while the answer was under way.
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

  /** Drop the oldest, some at a time. */
  #trim(max = EVENTS_MAX) {
    if (this.events.length <= max + 500) return;
    for (const event of this.events.splice(0, this.events.length - max)) this.#cursors.delete(event.cursor);
  }
}

/** Return the kind of an event: `online`, `offline`, `changed` or `settings`. */
export function kindOf(event) {
  return event.registration ? KINDS[event.event] : "settings";
}

/** Return what an event is about: a registration, a backend or a frontend. */
export function subjectOf(event) {
  return event.registration ?? event.backend ?? event.frontend;
}

/** Return what happened, in words: "offline, expired". */
export function whatOf(event) {
  const { event: kind, reason, registration } = event;
  if (kind === "changed" && reason === "configured" && registration)
    return `state set to ${registration.state ?? "up"}`;
  return [event.event, event.registration && event.reason].filter(Boolean).join(", ");
}

/** Return the setting that a backend or frontend has from an event on, in words; empty for registrations. */
export function settingOf({ event, backend, frontend }) {
  if (event === "removed") return "";
  if (frontend) return `to ${frontend.backend ?? "no backend"}`;
  if (!backend) return "";
  const canary = backend.canary ? `, ${backend.canary.percent} % to ${backend.canary.version}` : "";
  return `${backend.app} ${backend.version}${canary}`;
}
