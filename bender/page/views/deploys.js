// *Deploys*: frontends and backends, the version that each serves, and the controls that change it.

import { h, render } from "../dom.js";
import { table, tableRow, wordsOf } from "../parts.js";
import { Poll } from "../poll.js";
import { compareNames } from "../registry.js";
import { href } from "../router.js";
import { BackendDetail } from "./backend_detail.js";
import { membersText, servesText, UNSERVED } from "./backend_traffic.js";
import { FrontendDetail } from "./frontend_detail.js";

const CONSUMERS_MS = 2_000;

export class DeploysView {
  element = h("section", { class: "view deploys", "aria-labelledby": "deploys-title" });
  #page;
  #menu = h("nav", { class: "menu", "aria-label": "Backends and frontends" });
  #pane = h("div", { class: "pane" });
  #detail = null;
  #poll;

  constructor(page) {
    this.#page = page;
    this.#poll = new Poll(CONSUMERS_MS, () => page.traffic.ask());
    this.element.append(h("h1", { id: "deploys-title", class: "unseen" }, "Deploys"), this.#menu, this.#pane);
  }

  get title() {
    return this.#detail?.title;
  }

  show(router) {
    this.#poll.start();
    const [kind, name] = router.parts;
    const id = name === undefined ? null : `${kind}/${name}`;
    this.element.classList.toggle("chosen", id !== null);
    if (id === (this.#detail?.id ?? null)) return;
    this.#detail = this.#detailOf(kind, name);
    this.#pane.replaceChildren(...(this.#detail ? [this.#detail.element] : []));
  }

  hide() {
    this.#poll.stop();
  }

  focus() {
    this.#menu.querySelector("a")?.focus();
  }

  update() {
    this.#drawMenu();
    if (this.#detail) this.#detail.update();
    else render(this.#pane, this.#overview());
  }

  #detailOf(kind, name) {
    if (name === undefined) return null;
    return kind === "frontend" ? new FrontendDetail(this.#page, name) : new BackendDetail(this.#page, name);
  }

  /** Return the objects that match the search, in order of name. */
  #matching(objects) {
    const words = wordsOf(this.#page.router.query);
    return [...objects.values()]
      .filter((object) => words.every((word) => JSON.stringify(object).toLowerCase().includes(word)))
      .sort((a, b) => compareNames(a.name, b.name));
  }

  #overview() {
    const { registry, router, unserved } = this.#page;
    if (!registry.synced) return null;
    if (!registry.backends.size && !registry.frontends.size) return noBackend();
    const backends = this.#matching(registry.backends);
    const { query } = router;
    if (!backends.length && query) return h("p", { class: "summary" }, `No backend matches “${query}”.`);
    const rows = backends.map((backend) => {
      const link = h("a", { href: href("deploys", ["backend", backend.name], query) }, backend.name);
      const members = membersText(this.#page, backend.app, backend.version);
      return tableRow(backend.id, link, [
        h("td", {}, servesText(backend)),
        h("td", { class: unserved.has(backend.name) ? "bad" : null }, members),
      ]);
    });
    return h("div", { class: "overview" }, table("Backends", ["Backend", "Serves", "Take traffic"], rows));
  }

  #drawMenu() {
    const { registry, unserved } = this.#page;
    const backends = this.#matching(registry.backends).map((backend) =>
      this.#item(backend, [
        servesText(backend),
        unserved.has(backend.name) && h("b", { class: "bad" }, ` ${UNSERVED}`),
      ]),
    );
    const frontends = this.#matching(registry.frontends).map((frontend) =>
      this.#item(frontend, frontend.backend ?? h("b", { class: "bad" }, "no backend")),
    );
    const group = (title, items) => items.length > 0 && [h("h2", {}, title), h("ul", {}, items)];
    render(this.#menu, group("Backends", backends), group("Frontends", frontends));
  }

  #item({ id, name }, about) {
    const { router } = this.#page;
    const isChosen = id === router.parts.slice(0, 2).join("/");
    const attributes = { href: href("deploys", id.split("/"), router.query), "aria-current": isChosen ? "true" : null };
    return h("li", { "data-key": id }, h("a", attributes, h("b", {}, name), h("span", {}, about)));
  }
}

function noBackend() {
  return [
    h("p", { class: "summary" }, "There is no backend. A backend selects the version of an app that gets traffic:"),
    h("p", {}, h("code", {}, "bender backend set shop --app web --version 1.2.0")),
  ];
}
