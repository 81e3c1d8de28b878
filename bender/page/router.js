// The address selects the view and its object with the part after `#`, so that links can lead to each view.
//
// `#/now?q=web` has a view and a search; `#/explain/registration/web/1/10.0.0.5/80` has a view and an id.

export class Router extends EventTarget {
  view;
  /** The parts of the path after the view, decode. */
  parts = [];
  query = "";
  /** The last search in each view. */
  queries = {};

  /** `views` has, by name of a view, the objects that a search finds; null if a search leads to the first view. */
  constructor(views) {
    super();
    this.views = views;
    window.addEventListener("hashchange", () => this.#changed());
    this.#read();
  }

  /** The objects that a search finds in the present view: "instances". */
  get searchTarget() {
    return this.views[this.view] ?? Object.values(this.views)[0];
  }

  /** Search in the present view, without a new entry in the browser's history, or in the first view. */
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
    const [view, ...parts] = path.split("/").map(decode);
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

/** Return the address of a moment in *Events*, in ms since the epoch, with the id of the object of an event. */
export function momentHref(atMs, id) {
  return href("events", [new Date(atMs).toISOString(), ...id.split("/")]);
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // a user may have typed an invalid address
  }
}
