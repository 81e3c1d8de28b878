// What is above each view: which node this is, how it is, where one can go, and the search.

import { sentence } from "./dialogs.js";
import { h, render } from "./dom.js";
import { clock, count, number, rate } from "./format.js";
import { commas, dot } from "./parts.js";
import { href } from "./router.js";
import { Series, sparkline } from "./sparkline.js";

const TITLES = { now: "Now", deploys: "Deploys", cluster: "Cluster", events: "Events" };

const THEMES = { auto: "◐ Auto", light: "○ Light", dark: "● Dark" };

/** The search waits for the next key, so that ten thousand rows are not searched for each letter of a word. */
const TYPING_MS = 120;

/** Keys are text in these. */
const TYPED_IN = "input:not([type=checkbox], [type=range]), select, textarea, dialog";

export class Header {
  #page;
  #brand = h("div", { class: "brand" });
  #nav = h("nav", { "aria-label": "Views" });
  #rates = h("div", { class: "rates" });
  #tools = h("div", { class: "tools" });
  #search;
  #events = new Series(60);
  #counted = 0;
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
      oninput: () => this.#typed(),
      onkeydown: (event) => this.#searchKey(event),
    });
    const search = h("div", { class: "search" }, this.#search, h("kbd", { "aria-hidden": "true" }, "/"));
    element.append(this.#brand, this.#nav, search, this.#rates, this.#tools);
    document.addEventListener("keydown", (event) => this.#key(event));
    setInterval(() => this.#second(), 1000);
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
    this.#search.placeholder = `Search ${router.searched}`;
    this.#search.setAttribute("aria-label", this.#search.placeholder);
    this.#drawRates();
  }

  /** The node, its cluster, and how the connection to it is. */
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
        location.reload(); // nothing that the token has shown stays
      };
      const title = api.access.token && `The token is ${api.access.token}`;
      return h("button", { type: "button", class: "quiet", title, onclick: forget }, "Forget token");
    }
    const ask = () => this.#page.askToken();
    return live.state === "refused" && h("button", { type: "button", class: "quiet", onclick: ask }, "Enter token");
  }

  #second() {
    const { log } = this.#page;
    this.#events.push(log.total - this.#counted);
    this.#counted = log.total;
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

  #typed() {
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

  /** `/` searches, 1 to 4 switch views, and the view may have keys of its own, wherever the focus is. */
  #key(event) {
    if (event.target.closest?.(TYPED_IN) || event.ctrlKey || event.metaKey || event.altKey) return;
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

/** Return a number with the line of its last minute; a dash where it is not known. */
function figure(series, unit, known) {
  const mean = known ? series.mean(5) : null;
  const shown = h("b", {}, mean === null ? "–" : rate(mean));
  return h("span", { class: "figure", title: `${unit}, the last minute` }, sparkline(series.values), shown, ` ${unit}`);
}

/** Show above the view that the node does not answer, since when, and where else to look. */
export function connectionBanner(page, element) {
  const { live, status } = page;
  const node = status.body?.node ?? "The node";
  const since = clock(live.since);
  const text = {
    lost: `${node} is unreachable since ${since}: what you see is from before. Trying again every few seconds.`,
    "not-ready": `${node} is not ready: it has not heard from all of its peers yet.`,
    refused: page.api.token === null ? `${node} requires a token.` : sentence(live.problem ?? ""),
  }[live.state];
  document.body.classList.toggle("stale", Boolean(text));
  element.hidden = !text;
  if (!text) return render(element);
  const others = status.others.filter((other) => other.state === "heard");
  const links = others.map(({ node: name, url }) => h("a", { href: url + location.hash }, name));
  const again = h("button", { type: "button", onclick: () => live.reconnect() }, "Try now");
  const enter = h("button", { type: "button", onclick: () => page.askToken() }, "Enter token");
  const elsewhere = links.length > 0 && h("span", {}, "Open this at another node: ", commas(links));
  return render(element, h("span", {}, text), live.state === "refused" ? enter : [elsewhere, again]);
}
