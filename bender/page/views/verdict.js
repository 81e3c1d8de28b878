// A short text that says whether an instance is in rotation.

import { count } from "../format.js";
import { membersOf, statusOf } from "../instance_status.js";

/** Return `{text, state}` for an answer to `GET /explain`; `state` is the state of a dot. */
export function verdictOf({ listed, why, registration, backends, word, checks }) {
  // The node's reason begins with the state of the instance: expired, deregistered, hidden, offline.
  if (!listed) return { text: `Not listed: ${/^(\w+)/.exec(why)[1].replace("not", "unknown")}`, state: "bad" };
  const by = word?.author ? ` by ${word.author}` : "";
  if (registration.state === "maint") return { text: `No requests: set to maintenance${by}`, state: "warn" };
  if (registration.state === "drain") return { text: `No new requests: drained${by}`, state: "warn" };
  if (registration.weight === 0) return { text: "No traffic: its weight is 0", state: "warn" };
  const down = checks.filter((check) => check.down).length;
  if (down > 0 && down === checks.length) return { text: "No traffic: all load balancers find it down", state: "bad" };
  if (down > 0) return { text: `Found down by ${down} of ${count(checks.length, "load balancer")}`, state: "warn" };
  if (registration.suspect) return { text: "Suspect: the nodes at which it renewed are unreachable", state: "warn" };
  if (!backends.length) return { text: "Listed, but no backend sends requests to this version", state: "warn" };
  return { text: "In rotation", state: "ok" };
}

/** Return a sentence for each backend of an instance: how many of its other members take traffic. */
export function othersTaking({ registry, traffic }, { id, app, version }, backends) {
  const entry = registry.get(id);
  const own = entry && statusOf(entry, traffic).takesTraffic ? 1 : 0;
  return backends.map(({ name }) => {
    const { taking, online } = membersOf(registry, traffic, app, version);
    const left = Math.max(0, taking - own);
    if (left === 0) return `No other member of ${app} ${version} takes the traffic of ${name}.`;
    const still = left === 1 ? "still takes" : "still take";
    return `${left} of ${count(online, "member")} of ${app} ${version} ${still} traffic of ${name}.`;
  });
}
