// *Now*: apps, their versions, and the instances of each, as a tree of rows.

import { h, render } from "../dom.js";
import { count } from "../format.js";
import { statusOf } from "../instance_status.js";
import { commas, wordsOf } from "../parts.js";
import { Poll } from "../poll.js";
import { explainHref, href } from "../router.js";
import { VirtualList } from "../virtual_list.js";
import { appElement, COLUMNS, instanceElement, versionElement } from "./instance_rows.js";

/** Claims are asked for often enough to show a renewal within a second. */
const CLAIMS_MS = 750;

/** As many ids as one request for claims may have. */
const CLAIMS_MAX = 100;

/** Cells show ages and times left; they are drawn again this often without a change. */
const TICK_MS = 1_000;

/** The id of a registration, with or without its kind; its port may stand after a colon, as the page has it. */
const ID = /^(?:registration\/)?([^/\s]+\/[^/\s]+)\/\[?([^/\s]+?)\]?[/:](\d+)$/;

/** The row of an instance, which is the same as long as its entry is. */
class InstanceRow {
  kind = "instance";
  #view;

  constructor(view, entry) {
    this.#view = view;
    this.entry = entry;
    this.key = entry.id;
  }

  get stamp() {
    return `${this.entry.stamp} ${this.#view.tick}`;
  }
}

export class NowView {
  element = h("section", { class: "view now", "aria-labelledby": "now-title" });
  #page;
  #list;
  #tree;
  #summary = h("p", { class: "summary" });
  #closed = new Set();
  #rows = [];
  // Claims of registrations by id, as they were asked for last: `{claims, missing, at}`.
  #claims = new Map();
  #poll = new Poll(CLAIMS_MS, () => this.#askClaims());
  #ticker = null;
  /** Grows with each second and each answer about claims: rows with ages and times are made again then. */
  tick = 0;

  constructor(page) {
    this.#page = page;
    this.#tree = h("div", {
      id: "tree",
      class: "tree",
      role: "treegrid",
      tabindex: "0",
      "aria-label": "Instances by app and version",
      onkeydown: (event) => this.#key(event),
    });
    const heads = COLUMNS.map((title) => h("span", { role: "columnheader" }, title));
    const body = h("div", { id: "tree-rows", class: "scroll", role: "rowgroup" });
    this.#tree.append(
      h("div", { role: "rowgroup", class: "heads" }, h("div", { class: "row head", role: "row" }, heads)),
      body,
    );
    this.element.append(h("h1", { id: "now-title", class: "unseen" }, "Now"), this.#summary, this.#tree);
    this.#list = new VirtualList(body, (row, index) => this.#row(row, index), this.#tree);
  }

  show() {
    this.#poll.start();
    this.#ticker ??= setInterval(() => this.#ticked(), TICK_MS);
  }

  /** The view is in the document again. */
  shown() {
    this.update();
    this.#list.restore();
    if (this.#list.active >= 0) this.#tree.focus({ preventScroll: true });
  }

  hide() {
    this.#poll.stop();
    clearInterval(this.#ticker);
    this.#ticker = null;
    this.#claims.clear();
  }

  /** Take the focus, at the first instance that a search has found. */
  focus() {
    this.#tree.focus();
    const found = this.#searching ? this.#rows.findIndex((row) => row.kind === "instance") : 0;
    if (found >= 0 && (this.#searching || this.#list.active < 0)) this.#list.activate(found);
  }

  get #searching() {
    return this.#page.router.query !== "";
  }

  update() {
    this.#rows = this.#flat();
    this.#tree.setAttribute("aria-rowcount", String(this.#rows.length + 1));
    this.#list.show(this.#rows);
    this.#summarize();
  }

  #ticked() {
    if (document.hidden) return;
    this.tick += 1;
    this.update();
  }

  // Rows.

  /** Return the rows that are open and match the search. */
  #flat() {
    const words = wordsOf(this.#page.router.query);
    const rows = [];
    for (const app of this.#page.registry.apps) {
      const open = words.length > 0 || !this.#closed.has(app.name);
      const below = this.#versionRows(app, words, open);
      if (words.length && !below.length) continue;
      const stamp = `${open} ${app.online} ${app.versions.length}`;
      rows.push({ kind: "app", key: `a/${app.name}`, path: app.name, open, app, stamp });
      if (open) for (const row of below) rows.push(row);
    }
    return rows;
  }

  #versionRows(app, words, appOpen) {
    const rows = [];
    if (!appOpen) return rows;
    for (const version of app.versions) {
      const entries = words.length ? this.#matching(version.entries, words) : version.entries;
      if (words.length && !entries.length) continue;
      const path = `${app.name}/${version.name}`;
      const open = words.length > 0 || !this.#closed.has(path);
      const serving = this.#page.registry.serving(app.name, version.name);
      const stamp = `${open} ${version.online} ${JSON.stringify(serving)}`;
      rows.push({ kind: "version", key: `v/${path}`, path, open, version, serving, stamp });
      if (open) for (const entry of entries) rows.push((entry.row ??= new InstanceRow(this, entry)));
    }
    return rows;
  }

  #matching(entries, words) {
    const { traffic } = this.#page;
    return entries.filter((entry) => entry.matches(words, statusOf(entry, traffic).text));
  }

  #row(row, index) {
    const attributes = { role: "row", "aria-rowindex": String(index + 2) };
    if (row.kind === "instance") {
      const { traffic, live } = this.#page;
      const claimed = live.state === "live" ? this.#claims.get(row.key) : null;
      return instanceElement(row.entry, statusOf(row.entry, traffic), claimed, attributes);
    }
    Object.assign(attributes, { "aria-expanded": String(row.open), onclick: (event) => this.#clicked(event, row) });
    return row.kind === "app" ? appElement(row, attributes) : versionElement(row, attributes);
  }

  #clicked(event, row) {
    if (!event.target.closest("a")) this.#toggle(row);
  }

  // Claims: who heard from an instance, and how much time is left.

  async #askClaims() {
    const ids = this.#list.visible
      .filter((row) => row.kind === "instance" && !row.entry.gone)
      .slice(0, CLAIMS_MAX)
      .map((row) => row.key);
    if (!ids.length || this.#page.live.state !== "live") return;
    try {
      const { body } = await this.#page.api.request("POST", "claims", { body: { ids } });
      const { claims, missing } = body;
      const at = performance.now();
      this.#claims = new Map(ids.map((id) => [id, { claims: claims[id] ?? [], missing, at }]));
      this.#ticked();
    } catch {
      // The next request tries again; the connection of the events says what is wrong.
    }
  }

  // The keyboard.

  #key(event) {
    const row = this.#rows[this.#list.active];
    if (this.#list.move(event.key)) {
      // The list has moved.
    } else if (event.key === "Enter" && row) {
      if (row.kind === "instance") location.hash = explainHref(row.key);
      else this.#toggle(row);
    } else if (event.key === "ArrowRight" && row) {
      if (row.kind !== "instance" && !row.open) this.#toggle(row);
      else this.#list.activate(this.#list.active + 1);
    } else if (event.key === "ArrowLeft" && row) {
      if (row.kind !== "instance" && row.open) this.#toggle(row);
      else this.#list.activate(this.#parent(this.#list.active));
    } else {
      return;
    }
    event.preventDefault();
  }

  /** Return the index of the row that a row is below. */
  #parent(index) {
    const parent = { instance: "version", version: "app" }[this.#rows[index].kind];
    const above = this.#rows.findLastIndex((row, each) => each < index && row.kind === parent);
    return above < 0 ? index : above;
  }

  /** Open or close a row; a search opens all that it has found. */
  #toggle(row) {
    if (this.#searching) return;
    if (!this.#closed.delete(row.path)) this.#closed.add(row.path);
    this.update();
  }

  #summarize() {
    const { registry, router, live } = this.#page;
    const { query } = router;
    const found = this.#rows.filter((row) => row.kind === "instance").length;
    let content;
    if (!registry.synced) content = live.state === "connecting" ? "Loading…" : null;
    else if (query && !this.#rows.length) content = nothingFound(query);
    else if (query) content = `${count(found, "instance")} match${found === 1 ? "es" : ""} “${query}”.`;
    else if (!this.#rows.length) content = nothingRegistered();
    else content = unservedText([...this.#page.unserved]);
    this.#tree.hidden = registry.synced && !this.#rows.length;
    this.#summary.hidden = content === null;
    render(this.#summary, content);
  }
}

/** Return that nothing is found, with links to where it may be. */
function nothingFound(query) {
  const id = ID.exec(query.trim());
  const explain =
    id && h("a", { href: explainHref(`registration/${id.slice(1).join("/")}`) }, "Explain why it is not listed");
  const events = h("a", { href: href("events", [], query) }, "Search the events for it");
  return [`Nothing that is listed matches “${query}”. `, explain && [explain, ", or "], events, "."];
}

function nothingRegistered() {
  const url = new URL("registrations/web/1.2.0/10.0.0.5/8080", document.baseURI);
  return ["No instance is registered. To register one for ten seconds: ", h("code", {}, `curl -X POST ${url}`)];
}

/** Return which backends have no member that takes traffic; null if all have one. */
function unservedText(names) {
  if (!names.length) return null;
  const links = names.map((name) => h("a", { href: href("deploys", ["backend", name]) }, name));
  const have =
    names.length === 1 ? "No member takes the traffic of the backend " : "No member takes the traffic of the backends ";
  return h("span", { class: "bad" }, have, commas(links), ".");
}
