// Requests to the node that serves this page. Paths are relative, so that the page works behind a proxy's prefix too.

const TOKEN_KEY = "bender.token";
const AUTHOR_KEY = "bender.author";

/** The access that the page assumes before the node has answered what the token may do. */
const ONLY_READING = { required: false, token: null, scopes: ["read"] };

/** Time limit for an answer, unless the request sets another one. */
const TIME_LIMIT_MS = 10_000;

/** The node answered with an error. `code` and the message are those of the API. */
export class ApiError extends Error {
  constructor(status, body) {
    super(body?.message ?? `the node answered with status ${status}`);
    this.status = status;
    this.code = body?.code ?? "INVALID";
  }
}

/** The node did not answer. */
export class Unreachable extends Error {}

export class Api extends EventTarget {
  #token = read(sessionStorage, TOKEN_KEY);

  /** What the token of this page may do; only to read until the node has answered that. */
  access = ONLY_READING;

  /** The name of the user in the history of settings that are made here; empty without one. */
  get author() {
    return read(localStorage, AUTHOR_KEY) ?? "";
  }

  set author(name) {
    write(localStorage, AUTHOR_KEY, name || null);
  }

  get token() {
    return this.#token;
  }

  /** Use another token while this tab is open; null forgets it. */
  set token(token) {
    this.#token = token;
    this.access = ONLY_READING;
    write(sessionStorage, TOKEN_KEY, token);
    this.dispatchEvent(new Event("token"));
  }

  /** Ask the node what the token may do. */
  async loadAccess() {
    this.access = await this.get("token");
    this.dispatchEvent(new Event("access"));
  }

  get canConfigure() {
    return this.access.scopes.some((scope) => scope === "admin" || scope === "configure");
  }

  /** Return true if instances of an app may be deregistered. */
  canRegister(app) {
    return this.access.scopes.some((scope) => {
      if (scope === "admin") return true;
      const [kind, glob] = scope.split(/:(.*)/s);
      return kind === "register" && globMatches(glob, app);
    });
  }

  async get(path, options) {
    return (await this.request("GET", path, options)).body;
  }

  /** Send a request; return `{status, body, headers}`. Throws `ApiError` and `Unreachable`. */
  async request(method, path, { body, headers = {}, timeoutMs = TIME_LIMIT_MS } = {}) {
    const token = this.#token;
    const allHeaders = { ...this.headers(), ...headers };
    if (method !== "GET" && this.author) allHeaders["X-Bender-As"] = encodeURIComponent(this.author);
    const response = await this.fetch(path, {
      method,
      headers: body === undefined ? allHeaders : { ...allHeaders, "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(timeoutMs),
    });
    const answer = await parseBody(response);
    if (!response.ok) this.#refuse(new ApiError(response.status, answer), token);
    if (answer === null && response.status !== 204) throw new Unreachable("the answer of the node was cut off");
    return { status: response.status, body: answer, headers: response.headers };
  }

  /** Return a response without reading it. Throws `Unreachable`. */
  async fetch(path, options) {
    try {
      return await fetch(new URL(path, document.baseURI), { ...options, cache: "no-store", redirect: "error" });
    } catch (error) {
      if (options.signal?.aborted && options.signal.reason?.name === "AbortError") throw error;
      throw new Unreachable("the node does not answer", { cause: error });
    }
  }

  headers() {
    return this.#token === null ? {} : { Authorization: `Bearer ${this.#token}` };
  }

  /** Throw an error. Dispatch `unauthorized` first if the node refuses the present token. */
  #refuse(error, token) {
    if (error.code === "UNAUTHORIZED" && token === this.#token)
      this.dispatchEvent(new CustomEvent("unauthorized", { detail: error }));
    throw error;
  }
}

/** Return the path of an id, such as `registration/web/1/10.0.0.5/80` or `backend/shop`, below a prefix of the API. */
export function pathOf(id, prefix = null) {
  const [kind, ...names] = id.split("/");
  return [prefix ?? `${kind}s`, ...names.map(encodeURIComponent)].join("/");
}

async function parseBody(response) {
  const text = await response.text().catch(() => "");
  try {
    return text ? JSON.parse(text) : null;
  } catch {
    return null; // the answer of a proxy, and not of bender
  }
}

function globMatches(glob, name) {
  const pattern = glob
    .replace(/[.+^${}()|[\]\\]/g, "\\$&")
    .replaceAll("*", ".*")
    .replaceAll("?", ".");
  return new RegExp(`^${pattern}$`, "su").test(name);
}

function read(storage, key) {
  try {
    return storage.getItem(key);
  } catch {
    return null; // storage is switched off
  }
}

function write(storage, key, value) {
  try {
    if (value === null) storage.removeItem(key);
    else storage.setItem(key, value);
  } catch {
    // The value lasts as long as the page.
  }
}
