// The status of an instance: whether it takes traffic, and if not, why.

/** Return `{text, dot, takesTraffic}` of an entry of the registry; `traffic` has the reports of load balancers. */
export function statusOf({ registration, gone, change }, traffic) {
  if (gone) return { text: change.reason, dot: "bad", takesTraffic: false };
  const { state = "up", weight, suspect, id } = registration;
  if (state !== "up") return { text: state, dot: "warn", takesTraffic: false };
  if (weight === 0) return { text: "weight 0", dot: "warn", takesTraffic: false };
  if (traffic.isDown(id)) return { text: "checks fail", dot: "bad", takesTraffic: false };
  if (suspect) return { text: "suspect", dot: "warn", takesTraffic: true };
  return { text: "up", dot: "ok", takesTraffic: true };
}

/**
 * Return `{online, taking, reasons}` of a version: the number of listed members, the number of those that take traffic,
 * and the reasons why the others do not.
 */
export function membersOf(registry, traffic, app, version) {
  const reasons = new Map();
  let online = 0;
  let taking = 0;
  for (const entry of registry.entries(app, version)) {
    if (entry.gone) continue;
    online += 1;
    const { text, takesTraffic } = statusOf(entry, traffic);
    if (takesTraffic) taking += 1;
    else reasons.set(text, (reasons.get(text) ?? 0) + 1);
  }
  return { online, taking, reasons: [...reasons].map(([text, sum]) => `${sum} ${text}`) };
}

/** Return the names of the backends without a fixed server and without a member that takes their traffic. */
export function unserved(registry, traffic) {
  const found = [];
  for (const { name, app, version, canary, servers } of registry.backends.values()) {
    if (servers?.length) continue;
    const versions = canary?.percent ? [version, canary.version] : [version];
    if (!versions.some((each) => membersOf(registry, traffic, app, each).taking > 0)) found.push(name);
  }
  return found;
}
