// The header above each view: the node and its state, the links to the views, the search, and the rates.

import { sentence } from "./dialogs.js";
import { h, render } from "./dom.js";
import { clock, count, number, rate } from "./format.js";
import { commas, dot } from "./parts.js";
import { href } from "./router.js";
import { Series, sparkline } from "./sparkline.js";

const TITLES = { now: "Now", deploys: "Deploys", cluster: "Cluster", events: "Events" };

const THEMES = { auto: "◐ Auto", light: "○ Light", dark: "● Dark" };

/** The search begins after this pause in typing, so that not each letter searches ten thousand rows. */
const TYPING_MS = 120;

/** Elements in which keys are text, and not shortcuts. */
const TEXT_FIELDS = "input:not([type=checkbox], [type=range]), select, textarea, dialog";

export class Header {
  #page;
  #brand = h("div", { class: "brand" });
  #nav = h("nav", { "aria-label": "Views" });
  #rates = h("div", { class: "rates" });
  #tools = h("div", { class: "tools" });
  #search;
  #events = new Series(60);
  #countedTotal = 0;
  #typing = null;

  constructor(page, element) {
    this.#page = page;
    this.#search = h("input", {
      type: "search",
      id: "search",
      "aria-keyshortcuts": "/",
      autocomplete: "off",
      spellcheck: "false",
      value: page.router.query,
      oninput: () => this.#searchSoon(),
      onkeydown: (event) => this.#searchKey(event),
    });
    const search = h("div", { class: "search" }, this.#search, h("kbd", { "aria-hidden": "true" }, "/"));
    element.append(this.#brand, this.#nav, search, this.#rates, this.#tools);
    document.addEventListener("keydown", (event) => this.#key(event));
    setInterval(() => this.#measureEvents(), 1000);
    this.update();
  }

  update() {
    const { router, status, view } = this.#page;
    const node = status.body?.node;
    document.title = [view?.title ?? TITLES[router.view], node, "bender"].filter(Boolean).join(" · ");
    render(this.#brand, h("a", { href: href("now"), class: "logo" }, "bender"), this.#node());
    render(
      this.#nav,
      Object.keys(TITLES).map((each) => this.#tab(each)),
    );
    render(this.#tools, this.#themeButton(), this.#tokenButton());
    if (document.activeElement !== this.#search) this.#search.value = router.query;
    this.#search.placeholder = `Search ${router.searchTarget}`;
    this.#search.setAttribute("aria-label", this.#search.placeholder);
    this.#drawRates();
  }

  /** Return the node, its cluster, and the state of the connection to it. */
  #node() {
    const { live, status } = this.#page;
    if (!status.body) return null;
    const { node, cluster, ready } = status.body;
    const state = live.state === "live" ? (ready ? "ready" : "not ready") : live.state;
    const colour = { ready: "ok", connecting: "idle", hidden: "idle" }[state] ?? "bad";
    return [
      h("span", { class: "node", title: state }, dot(colour), node, h("span", { class: "unseen" }, `, ${state}`)),
      cluster !== "bender" && h("span", { class: "cluster" }, cluster),
    ];
  }

  #tab(view) {
    const { router, status, unserved } = this.#page;
    const problems = { cluster: status.problems.length, deploys: unserved.size }[view] ?? 0;
    const isCurrent = router.view === view || (view === "now" && router.view === "explain");
    const attributes = { href: href(view), "aria-current": isCurrent ? "page" : null };
    return h("a", attributes, TITLES[view], problems > 0 && badge(problems));
  }

  #themeButton() {
    const { choice } = window.theme;
    const next = () => {
      window.theme.next();
      this.update();
    };
    const attributes = { type: "button", class: "quiet", "aria-label": `Colours: ${choice}. Change`, onclick: next };
    return h("button", attributes, THEMES[choice]);
  }

  #tokenButton() {
    const { api, live } = this.#page;
    if (api.token !== null) {
      const forget = () => {
        api.token = null;
        location.reload(); // so that no data stays that needed the token
      };
      const title = api.access.token && `The token is ${api.access.token}`;
      return h("button", { type: "button", class: "quiet", title, onclick: forget }, "Forget token");
    }
    const ask = () => this.#page.askToken();
    return live.state === "refused" && h("button", { type: "button", class: "quiet", onclick: ask }, "Enter token");
  }

  #measureEvents() {
    const { log } = this.#page;
    this.#events.push(log.total - this.#countedTotal);
    this.#countedTotal = log.total;
    if (!document.hidden) this.#drawRates();
  }

  #drawRates() {
    const { live, status, registry } = this.#page;
    const known = live.state === "live";
    const noun = registry.online === 1 ? " instance" : " instances";
    render(
      this.#rates,
      h("span", { class: "figure" }, h("b", {}, number(registry.online)), noun),
      figure(this.#events, "events/s", known),
      figure(status.renewals, `renewals/s at ${status.body?.node ?? "this node"}`, known),
    );
  }

  #searchSoon() {
    clearTimeout(this.#typing);
    this.#typing = setTimeout(() => this.#page.router.search(this.#search.value.trim()), TYPING_MS);
  }

  #searchKey(event) {
    clearTimeout(this.#typing);
    if (event.key === "Escape") {
      this.#search.value = "";
      this.#page.router.search("");
      document.getElementById("main").focus();
    } else if (event.key === "Enter" || event.key === "ArrowDown") {
      this.#page.router.search(this.#search.value.trim());
      this.#page.view.focus?.();
    } else {
      return;
    }
    event.preventDefault();
  }

  /** Handle a shortcut, wherever the focus is: `/` searches, 1 to 4 switch views, and the view may have own keys. */
  #key(event) {
    if (event.target.closest?.(TEXT_FIELDS) || event.ctrlKey || event.metaKey || event.altKey) return;
    const view = Object.keys(TITLES)[Number(event.key) - 1];
    if (event.key === "/") {
      this.#search.focus();
      this.#search.select();
    } else if (view) {
      location.hash = href(view);
    } else if (!this.#page.view.key?.(event.key)) {
      return;
    }
    event.preventDefault();
  }
}

function badge(problems) {
  const unseen = h("span", { class: "unseen" }, problems === 1 ? " problem" : " problems");
  return h("span", { class: "badge", title: count(problems, "problem") }, problems, unseen);
}

/** Return a rate with a line of its last minute; a dash if the rate is not known. */
function figure(series, unit, known) {
  const mean = known ? series.mean(5) : null;
  const value = h("b", {}, mean === null ? "–" : rate(mean));
  const title = `${unit} in the last minute`;
  return h("span", { class: "figure", title }, sparkline(series.values), value, ` ${unit}`);
}

/** Show above the view that the node does not answer, since when, and which other nodes have the page. */
export function connectionBanner(page, element) {
  const { live, status } = page;
  const node = status.body?.node ?? "The node";
  const since = clock(live.since);
  const text = {
    lost: `${node} is unreachable since ${since}: the page shows its last data, and reconnects every few seconds.`,
    "not-ready": `${node} is not ready: not all of its peers have answered yet.`,
    refused: page.api.token === null ? `${node} requires a token.` : sentence(live.problem ?? ""),
  }[live.state];
  document.body.classList.toggle("stale", Boolean(text));
  element.hidden = !text;
  if (!text) return render(element);
  const others = status.others.filter((other) => other.state === "heard");
  const links = others.map(({ node: name, url }) => h("a", { href: url + location.hash }, name));
  const again = h("button", { type: "button", onclick: () => live.reconnect() }, "Try now");
  const enter = h("button", { type: "button", onclick: () => page.askToken() }, "Enter token");
  const elsewhere = links.length > 0 && h("span", {}, "Open this view at another node: ", commas(links));
  return render(element, h("span", {}, text), live.state === "refused" ? enter : [elsewhere, again]);
}
