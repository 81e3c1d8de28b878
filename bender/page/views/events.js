// *Events*: the events of this node, the newest first. Each event has an address of its own, for links.

import { h, render } from "../dom.js";
import { EARLIER_MAX, kindOf, settingOf, subjectOf, whatOf } from "../event_log.js";
import { count, dateTime, duration, moment } from "../format.js";
import { dot, wordsOf } from "../parts.js";
import { explainHref, href, momentHref } from "../router.js";
import { VirtualList } from "../virtual_list.js";

const KINDS = ["online", "offline", "changed", "settings"];

/** The interval between two summaries for screen readers, which cannot read a hundred events a second. */
const ANNOUNCE_MS = 5_000;

/** The longest time between the events of two nodes about one change, because clocks and delays differ. */
const NEAR_MS = 10_000;

export class EventsView {
  element = h("section", { class: "view events", "aria-labelledby": "events-title" });
  #page;
  #list;
  #controls = h("div", { class: "controls" });
  #scroll;
  #hidden = new Set();
  // The events at the time when the user paused the list; null if it is not paused.
  #paused = null;
  // The number of all events at the time when the user paused the list.
  #pausedTotal = 0;
  #moment = null;
  #announced = 0;
  #announcing = null;

  constructor(page) {
    this.#page = page;
    this.#scroll = h("div", {
      id: "log",
      class: "scroll",
      role: "group",
      tabindex: "0",
      "aria-label": "Events, the newest first",
      onkeydown: (event) => this.#onKeydown(event),
    });
    // The elements of rows are reused, so the announcer tells screen readers about new events.
    const log = h("div", { class: "log", role: "log", "aria-live": "off", "aria-label": "Events" }, this.#scroll);
    this.element.append(h("h1", { id: "events-title", class: "unseen" }, "Events"), this.#controls, log);
    this.#list = new VirtualList(this.#scroll, (row) => rowElement(row));
  }

  show(router) {
    this.#announced = this.#page.log.total;
    this.#announcing ??= setInterval(() => this.#announce(), ANNOUNCE_MS);
    const [time, ...id] = router.parts;
    const address = router.parts.join("/");
    if (address === (this.#moment?.address ?? "")) return;
    this.#list.deactivate();
    this.#moment = time === undefined ? null : new Moment(address, Date.parse(time), id.join("/"));
    this.#setPaused(this.#moment !== null);
    this.#goToMoment();
  }

  /** Restore the scroll position and the focus, because the view is in the document again. */
  attached() {
    this.#list.restore();
  }

  hide() {
    clearInterval(this.#announcing);
    this.#announcing = null;
    this.#paused = null;
    this.#moment = null;
    this.#list.deactivate();
  }

  focus() {
    this.#scroll.focus();
    if (this.#list.active < 0) this.#list.activate(0);
  }

  /** Handle a shortcut of this view, wherever the focus is; return true if the key is one. */
  key(key) {
    if (key === "p") this.#pause();
    return key === "p";
  }

  update() {
    if (this.#moment !== null && this.#moment.event === null) this.#goToMoment();
    const rows = this.#rows();
    this.#list.show(rows);
    this.#drawControls(rows.length);
  }

  #rows() {
    const words = wordsOf(this.#page.router.query);
    const rows = [];
    for (const event of this.#paused ?? this.#page.log.events) {
      if (this.#hidden.has(kindOf(event))) continue;
      const row = rowOf(event, event === this.#moment?.event);
      if (words.every((word) => row.text.includes(word))) rows.push(row);
    }
    return rows.reverse();
  }

  #drawControls(found) {
    const { query } = this.#page.router;
    const matching = query && ` match “${query}”`;
    const text = found || matching ? `${count(found, "event")}${matching}.` : "This node has no events.";
    const about = this.#moment && [` ${this.#moment.text(this.#page.status)} `, newestLink(query)];
    const hint = h("span", { class: "hint" }, text, about);
    render(this.#controls, this.#pauseButton(), this.#newerButton(), this.#kinds(), hint);
  }

  #pauseButton() {
    const waiting = this.#page.log.total - this.#pausedTotal;
    const text = this.#paused === null ? "Pause" : waiting > 0 ? `Resume (${count(waiting, "new event")})` : "Resume";
    return h("button", { type: "button", onclick: () => this.#pause() }, text);
  }

  /** Return a button that scrolls to the newest events, if they are not visible. */
  #newerButton() {
    const newer = this.#paused === null ? this.#list.first : 0;
    const scroll = () => (this.#scroll.scrollTop = 0);
    return (
      newer > 0 &&
      h("button", { type: "button", "data-key": "newer", onclick: scroll }, `↑ ${count(newer, "newer event")}`)
    );
  }

  #kinds() {
    const boxes = KINDS.map((kind) => {
      const box = h("input", {
        type: "checkbox",
        checked: !this.#hidden.has(kind),
        onchange: () => this.#toggle(kind),
      });
      return h("label", { class: "toggle" }, box, kind);
    });
    return h("fieldset", {}, h("legend", { class: "unseen" }, "Kinds"), boxes);
  }

  /** Pause the list, or follow the events again. */
  #setPaused(paused) {
    this.#paused = paused ? [...this.#page.log.events] : null;
    this.#pausedTotal = this.#page.log.total;
  }

  #pause() {
    this.#setPaused(this.#paused === null);
    if (this.#paused === null) this.#scroll.scrollTop = 0;
    this.update();
  }

  #toggle(kind) {
    if (!this.#hidden.delete(kind)) this.#hidden.add(kind);
    this.update();
  }

  /** Scroll to the moment in the address. If the page has no event near it, load all events that the node has. */
  async #goToMoment() {
    const target = this.#moment;
    if (target === null || Number.isNaN(target.at)) return;
    const events = this.#paused ?? this.#page.log.events;
    target.find(events);
    if (target.event === null && !target.hasLoaded && this.#page.live.state === "live") {
      target.hasLoaded = true;
      await this.#page.log.loadEarlier(EARLIER_MAX).catch((error) => (target.problem = error.message));
      if (target !== this.#moment) return;
      this.#setPaused(true);
      target.find(this.#paused);
    }
    const rows = this.#rows();
    const index = rows.findIndex((row) => row.event === target.event);
    this.#list.show(rows);
    if (index >= 0) this.#list.activate(index, { center: true });
  }

  #onKeydown(event) {
    const row = this.#list.rows[this.#list.active];
    if (this.#list.move(event.key)) {
      // The list has handled the key.
    } else if (event.key === "Enter" && row) {
      location.hash = linkOf(row.event);
    } else if (event.key === " ") {
      this.#pause();
    } else {
      return;
    }
    event.preventDefault();
  }

  #announce() {
    const { log } = this.#page;
    const happened = log.total - this.#announced;
    this.#announced = log.total;
    if (happened > 0 && this.#paused === null) this.#page.announce(summary(log.events.slice(-happened)));
  }
}

/** The moment in an address: a time in ms since the epoch, and the id of the object of the event, if it is given. */
class Moment {
  /** The event nearest to the moment; null if none is near. */
  event = null;
  hasLoaded = false;
  /** Why earlier events could not be loaded; null if they could, or were not requested. */
  problem = null;

  constructor(address, at, id) {
    this.address = address;
    this.at = at;
    this.id = id;
  }

  /** Find the nearest event of the id, or, if none is near, the nearest event of any object. */
  find(events) {
    const near = events.filter((event) => Math.abs(event.at - this.at) <= NEAR_MS);
    const own = near.filter((event) => subjectOf(event).id === this.id);
    const apart = (event) => Math.abs(event.at - this.at);
    const nearer = (best, event) => (best === null || apart(event) < apart(best) ? event : best);
    this.event = (own.length ? own : near).reduce(nearer, null);
  }

  /** Return a description of the event that was found. */
  text({ body, startedAt }) {
    if (Number.isNaN(this.at)) return "The time in the address of this page is not valid.";
    if (this.event === null && this.problem !== null) return `Earlier events could not be loaded: ${this.problem}.`;
    if (this.event === null && this.at < startedAt) {
      return `${body.node} started at ${dateTime(startedAt)}, and has no earlier events: use another node's page.`;
    }
    if (this.event === null) return `This node has no event near ${dateTime(this.at)}.`;
    const apart = Math.abs(this.event.at - this.at) / 1000;
    if (apart === 0) return `The event of ${dateTime(this.at)}.`;
    const distance = apart < 0.1 ? "less than 0.1 s" : duration(apart);
    return `The nearest event at this node, ${distance} away from ${dateTime(this.at)}.`;
  }
}

/** The row of an event, which exists as long as the event. */
class EventRow {
  isTarget = false;
  #text = null;

  constructor(event) {
    this.event = event;
    this.key = event.cursor;
  }

  get stamp() {
    return this.isTarget;
  }

  /** The text for searches, in lower case. */
  get text() {
    const { event } = this;
    const { id, node = "", meta = {} } = subjectOf(event);
    this.#text ??= `${id} ${whatOf(event)} ${settingOf(event)} node:${node} ${JSON.stringify(meta)}`.toLowerCase();
    return this.#text;
  }
}

const rowsByEvent = new WeakMap();

function rowOf(event, isTarget) {
  let row = rowsByEvent.get(event);
  if (!row) rowsByEvent.set(event, (row = new EventRow(event)));
  row.isTarget = isTarget;
  return row;
}

function rowElement({ event, isTarget }) {
  const subject = subjectOf(event);
  const setting = settingOf(event);
  const open = ({ target }) => target.closest("a") || (location.hash = linkOf(event));
  const address = { class: "at", href: momentHref(event.at, subject.id), tabindex: "-1" };
  return h("div", { class: `row event ${kindOf(event)}${isTarget ? " here" : ""}`, onclick: open }, [
    h("a", { ...address, title: `Link to ${dateTime(event.at)}` }, moment(event.at, { millis: true })),
    h("span", { class: "what" }, dot(dotOf(event)), whatOf(event)),
    h("span", { class: "subject", title: subject.id }, [
      h("a", { href: linkOf(event), tabindex: "-1" }, subject.id),
      setting && h("span", { class: "hint" }, ` ${setting}`),
    ]),
    h("span", { class: "by" }, subject.node),
  ]);
}

function newestLink(query) {
  return h("a", { href: href("events", [], query) }, "Show the newest events");
}

function linkOf(event) {
  const { id } = subjectOf(event);
  return event.registration ? explainHref(id) : href("deploys", id.split("/"));
}

function dotOf(event) {
  if (!event.registration) return "accent";
  return { online: "ok", offline: event.reason === "deregistered" ? "idle" : "bad", changed: "warn" }[event.event];
}

/** Return a summary of events: the only one, or the number of each kind. */
function summary(events) {
  if (events.length === 1) return `${subjectOf(events[0]).id} ${whatOf(events[0])}`;
  const sums = KINDS.map((kind) => [kind, events.filter((event) => kindOf(event) === kind).length]);
  return sums.flatMap(([kind, sum]) => (sum ? [`${sum} ${kind}`] : [])).join(", ");
}
