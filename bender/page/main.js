// The page: its data about the registry, and the view that shows the data.

import { Api } from "./api.js";
import { askToken } from "./dialogs.js";
import { h } from "./dom.js";
import { EventLog } from "./event_log.js";
import { connectionBanner, Header } from "./header.js";
import { unserved } from "./instance_status.js";
import { LiveEvents } from "./live_events.js";
import { NodeStatus } from "./node_status.js";
import { Poll } from "./poll.js";
import { Registry } from "./registry.js";
import { Router } from "./router.js";
import { Traffic } from "./traffic.js";
import { ClusterView } from "./views/cluster.js";
import { DeploysView } from "./views/deploys.js";
import { EventsView } from "./views/events.js";
import { ExplainView } from "./views/explain.js";
import { NowView } from "./views/now.js";

const STATUS_MS = 2_000;

/** Every view needs the reports of load balancers; views that show more of the reports ask more often. */
const CONSUMERS_MS = 4_000;

/** Changes are drawn together, at most this often, because nobody reads faster than ten times a second. */
const DRAW_MS = 100;

class Page {
  api = new Api();
  registry = new Registry();
  log = new EventLog(this.api);
  live = new LiveEvents(this.api);
  status = new NodeStatus(this.api);
  traffic = new Traffic(this.api);
  router = new Router({ now: "instances", deploys: "backends", cluster: null, events: "events", explain: null });
  view = null;
  #views = {};
  #main = document.getElementById("main");
  #announcer = document.getElementById("announcer");
  #polls = [
    new Poll(STATUS_MS, () => this.status.ask()),
    new Poll(CONSUMERS_MS, () => this.live.state === "live" && this.traffic.ask()),
  ];
  #drawing = null;
  #unserved = null;
  // Whether the page has asked the user for another token since the token changed.
  #askedForToken = false;

  constructor() {
    this.header = new Header(this, document.getElementById("header"));
    this.#views = {
      now: new NowView(this),
      deploys: new DeploysView(this),
      cluster: new ClusterView(this),
      events: new EventsView(this),
      explain: new ExplainView(this),
    };
    // The fragment of the address selects the view, so the link above the header only moves the focus.
    document.querySelector(".skip").addEventListener("click", (event) => {
      event.preventDefault();
      this.#main.focus();
    });
    this.#listen();
    this.#route();
    this.live.reconnect();
    for (const poll of this.#polls) poll.start();
    setInterval(() => this.registry.sweep(), 1000);
  }

  /** The names of the backends without a member that takes their traffic, looked up once for each change. */
  get unserved() {
    this.#unserved ??= new Set(unserved(this.registry, this.traffic));
    return this.#unserved;
  }

  /** Announce a text to users of screen readers. */
  announce(text) {
    this.#announcer.textContent = text;
  }

  /** Ask the user for a token, because there is none or the node does not accept it. */
  askToken(problem = this.live.problem ?? "") {
    return askToken(this.api, problem);
  }

  /** Draw the view with the next changes, soon. */
  draw() {
    this.#drawing ??= setTimeout(() => {
      this.#drawing = null;
      this.view.update();
      this.header.update();
    }, DRAW_MS);
  }

  #listen() {
    const { api, live, registry, log, status, traffic, router } = this;
    live.addEventListener("batch", ({ detail }) => {
      registry.apply(detail);
      log.apply(detail);
    });
    live.addEventListener("state", () => this.#connectionChanged());
    // Views send requests again and again, but the page asks the user only once about each refused or missing token.
    api.addEventListener("token", () => (this.#askedForToken = false));
    api.addEventListener("unauthorized", ({ detail }) => {
      if (!this.#askedForToken) this.askToken(detail.message);
      this.#askedForToken = true;
    });
    api.addEventListener("access", () => this.draw());
    for (const source of [registry, traffic]) source.addEventListener("change", () => (this.#unserved = null));
    for (const source of [registry, log, status, traffic]) source.addEventListener("change", () => this.draw());
    status.addEventListener("change", () => {
      if (!status.answers && live.state === "live") live.drop();
      this.#drawBanner();
    });
    router.addEventListener("route", () => this.#route());
  }

  #connectionChanged() {
    this.#drawBanner();
    if (this.live.state !== "live") return this.draw();
    this.status.ask();
    this.traffic.ask();
    // Failures need no message: without these answers, the page offers no changes and shows no earlier events.
    this.api.loadAccess().catch(() => undefined);
    this.log.loadEarlier().catch(() => undefined);
    this.draw();
  }

  #drawBanner() {
    connectionBanner(this, document.getElementById("connection"));
  }

  #route() {
    const next = this.#views[this.router.view];
    if (next !== this.view) {
      const isFirst = this.view === null;
      this.view?.hide?.();
      this.view = next;
      this.#main.replaceChildren(next.element);
      this.#main.dataset.view = this.router.view;
      // The element with the focus was removed. The first view does not take the focus, so that Tab begins at the top.
      if (!isFirst && !document.activeElement.matches("input, dialog *")) this.#main.focus({ preventScroll: true });
      next.attached?.();
    }
    next.show(this.router);
    next.update();
    this.header.update();
  }
}

try {
  window.page = new Page();
} catch (error) {
  document
    .getElementById("main")
    .replaceChildren(
      h(
        "p",
        { class: "refusal", role: "alert" },
        `The page cannot start: ${error.message}. Reload it, or use bender top.`,
      ),
    );
  throw error;
}
