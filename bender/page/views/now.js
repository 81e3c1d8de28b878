// *Now*: apps, their versions, and the instances of each, as a tree of rows.

import { h, render } from "../dom.js";
import { count } from "../format.js";
import { statusOf } from "../instance_status.js";
import { commas, wordsOf } from "../parts.js";
import { Poll } from "../poll.js";
import { explainHref, href } from "../router.js";
import { VirtualList } from "../virtual_list.js";
import { appElement, COLUMNS, instanceElement, versionElement } from "./instance_rows.js";

/** The interval of requests for claims, which shows a renewal within a second. */
const CLAIMS_MS = 750;

/** The largest number of ids in one request for claims. */
const CLAIMS_MAX = 100;

/** Cells with ages and remaining times are drawn again at this interval. */
const TICK_MS = 1_000;

/** The id of a registration, with or without its kind. The port may follow a colon, as in the list. */
const ID = /^(?:registration\/)?([^/\s]+\/[^/\s]+)\/\[?([^/\s]+?)\]?[/:](\d+)$/;

/** The row of an instance, which exists as long as its entry. */
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
  // The last answers about the claims of registrations, by id: `{claims, missing, at}`.
  #claims = new Map();
  #poll = new Poll(CLAIMS_MS, () => this.#askClaims());
  #ticker = null;
  /** Grows each second and with each answer about claims, so that rows with ages and times are made again. */
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

  /** Restore the scroll position and the focus, because the view is in the document again. */
  attached() {
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

  /** Take the focus; after a search, activate the first instance that it has found. */
  focus() {
    this.#tree.focus();
    const found = this.#searching ? this.#rows.findIndex((row) => row.kind === "instance") : 0;
    if (found >= 0 && (this.#searching || this.#list.active < 0)) this.#list.activate(found);
  }

  get #searching() {
    return this.#page.router.query !== "";
  }

  update() {
    this.#rows = this.#openRows();
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

  /** Return the rows that match the search and are not in a closed row. */
  #openRows() {
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
      const serving = this.#page.registry.backendsOf(app.name, version.name);
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

  // Claims: the nodes at which an instance has renewed, and the remaining time.

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
      // The next request tries again; the banner of the connection reports the problem.
    }
  }

  // The keyboard.

  #key(event) {
    const row = this.#rows[this.#list.active];
    if (this.#list.move(event.key)) {
      // The list has handled the key.
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

  /** Return the index of the parent row of a row. */
  #parent(index) {
    const parent = { instance: "version", version: "app" }[this.#rows[index].kind];
    const above = this.#rows.findLastIndex((row, each) => each < index && row.kind === parent);
    return above < 0 ? index : above;
  }

  /** Open or close a row. During a search all rows are open. */
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

/** Return a message that a search finds nothing, with links to other places to search. */
function nothingFound(query) {
  const id = ID.exec(query.trim());
  const explain =
    id && h("a", { href: explainHref(`registration/${id.slice(1).join("/")}`) }, "Explain why it is not listed");
  const events = h("a", { href: href("events", [], query) }, "Search the events for it");
  return [`No listed instance matches “${query}”. `, explain && [explain, ", or "], events, "."];
}

function nothingRegistered() {
  const url = new URL("registrations/web/1.2.0/10.0.0.5/8080", document.baseURI);
  return ["No instance is registered. To register one for ten seconds: ", h("code", {}, `curl -X POST ${url}`)];
}

/** Return a message about the backends without a member that takes traffic; null if there are none. */
function unservedText(names) {
  if (!names.length) return null;
  const links = names.map((name) => h("a", { href: href("deploys", ["backend", name]) }, name));
  const have =
    names.length === 1 ? "No member takes the traffic of the backend " : "No member takes the traffic of the backends ";
  return h("span", { class: "bad" }, have, commas(links), ".");
}
