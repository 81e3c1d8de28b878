// Changes of backends, frontends and states. The node refuses to change a backend or frontend that has changed since it
// was loaded.

import { ApiError, pathOf } from "./api.js";

/** Return an object of the node as `{body, etag}`, or null if it does not exist. */
export async function load(api, id) {
  try {
    const { body, headers } = await api.request("GET", pathOf(id));
    return { body, etag: headers.get("ETag") };
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return null;
    throw error;
  }
}

/** Change fields of a backend or frontend, if it has not changed since it was loaded. */
export async function change(api, id, fields, { etag, force = false } = {}) {
  return api.request("PUT", pathOf(id) + forceQuery(force), { body: fields, headers: { "If-Match": etag } });
}

/** Go back to the previous setting. */
export async function rollBack(api, id, { etag, force = false } = {}) {
  return api.request("POST", `${pathOf(id)}/rollback${forceQuery(force)}`, { headers: { "If-Match": etag } });
}

/** Set an operator's state of an instance, `drain` or `maint`, for some seconds, or end it with `up`. */
export async function setState(api, id, state, lastsS, { force = false } = {}) {
  const path = `${pathOf(id)}/state`;
  if (state === "up") return api.request("DELETE", path);
  return api.request("PUT", path + forceQuery(force), { body: { state, for: lastsS } });
}

/** Deregister an instance, and wait for the nodes and load balancers to act on it. */
export async function deregister(api, id) {
  return api.request("DELETE", `${pathOf(id)}?wait=5`, { timeoutMs: 15_000 });
}

/** Return the last settings, newest first. */
export async function history(api, id) {
  return api.get(`${pathOf(id)}/history`);
}

function forceQuery(force) {
  return force ? "?force" : "";
}
