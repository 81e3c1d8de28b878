// Which view is shown, and of what: the part of the address after `#`, so that each can be linked to.
//
// `#/now?q=web` is a view and what is searched for; `#/explain/registration/web/1/10.0.0.5/80` a view and an id.

export class Router extends EventTarget {
  view;
  /** The parts of the path after the view, decoded. */
  parts = [];
  query = "";
  /** What was searched for last in each view. */
  queries = {};

  /** `views` are the names of all views, with what is searched in each; in one without, a search leads to the first. */
  constructor(views) {
    super();
    this.views = views;
    window.addEventListener("hashchange", () => this.#changed());
    this.#read();
  }

  /** What a search looks for in the present view: "instances". */
  get searched() {
    return this.views[this.view] ?? Object.values(this.views)[0];
  }

  /** Search for something, in the present view without a new entry in the browser's history. */
  search(query) {
    if (query === this.query) return;
    if (!this.views[this.view]) {
      location.hash = href(Object.keys(this.views)[0], [], query);
      return;
    }
    history.replaceState(null, "", href(this.view, this.parts, query));
    this.#changed();
  }

  #changed() {
    this.#read();
    this.dispatchEvent(new Event("route"));
  }

  #read() {
    const [path, fields] = location.hash.replace(/^#\/?/, "").split(/\?(.*)/s);
    const [view, ...parts] = path.split("/").map(decoded);
    this.view = Object.hasOwn(this.views, view) ? view : Object.keys(this.views)[0];
    this.parts = this.view === view ? parts.filter((part) => part !== "") : [];
    this.query = new URLSearchParams(fields ?? "").get("q") ?? "";
    this.queries[this.view] = this.query;
  }
}

/** Return the address of a view. */
export function href(view, parts = [], query = "") {
  const path = ["#", view, ...parts.map(encodeURIComponent)].join("/");
  return query ? `${path}?${new URLSearchParams({ q: query })}` : path;
}

/** Return the address of the view that explains a registration. */
export function explainHref(id) {
  return href("explain", id.split("/"));
}

/** Return the address of a moment in the events, in ms since the epoch, and of what happened then. */
export function momentHref(atMs, id) {
  return href("events", [new Date(atMs).toISOString(), ...id.split("/")]);
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // typed by hand
  }
}
