// Changes of backends, frontends and states. One of a backend or frontend is refused if somebody else was faster.

import { ApiError, pathOf } from "./api.js";

/** Return an object of the node as `{body, etag}`, or null where there is none. */
export async function load(api, id) {
  try {
    const { body, headers } = await api.request("GET", pathOf(id));
    return { body, etag: headers.get("ETag") };
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return null;
    throw error;
  }
}

/** Change the fields of a backend or frontend that is as it was loaded. */
export async function change(api, id, fields, { etag, force = false } = {}) {
  return api.request("PUT", pathOf(id) + forced(force), { body: fields, headers: { "If-Match": etag } });
}

/** Go back to the setting before. */
export async function rollBack(api, id, { etag, force = false } = {}) {
  return api.request("POST", `${pathOf(id)}/rollback${forced(force)}`, { headers: { "If-Match": etag } });
}

/** Set an operator's state of an instance, `drain` or `maint`, for some seconds, or end it with `up`. */
export async function setState(api, id, state, lastsS, { force = false } = {}) {
  const path = `${pathOf(id)}/state`;
  if (state === "up") return api.request("DELETE", path);
  return api.request("PUT", path + forced(force), { body: { state, for: lastsS } });
}

/** Deregister an instance, and wait for the nodes and load balancers to act on it. */
export async function deregister(api, id) {
  return api.request("DELETE", `${pathOf(id)}?wait=5`, { timeoutMs: 15_000 });
}

/** Return the last settings, newest first. */
export async function history(api, id) {
  return api.get(`${pathOf(id)}/history`);
}

function forced(force) {
  return force ? "?force" : "";
}
