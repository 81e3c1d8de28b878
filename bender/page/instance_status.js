// How an instance is: whether it takes traffic, and if not, why.

/** Return `{text, dot, takesTraffic}` of an entry of the registry; `traffic` knows what load balancers find down. */
export function statusOf({ registration, gone, change }, traffic) {
  if (gone) return { text: change.reason, dot: "bad", takesTraffic: false };
  const { state = "up", weight, suspect, id } = registration;
  if (state !== "up") return { text: state, dot: "warn", takesTraffic: false };
  if (weight === 0) return { text: "weight 0", dot: "warn", takesTraffic: false };
  if (traffic.isDown(id)) return { text: "checks fail", dot: "bad", takesTraffic: false };
  if (suspect) return { text: "suspect", dot: "warn", takesTraffic: true };
  return { text: "up", dot: "ok", takesTraffic: true };
}

/** Return the members of a version as `{online, taking, reasons}`; the reasons are why the others take no traffic. */
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

/** Return the names of the backends that have no member or fixed server which takes their traffic. */
export function unserved(registry, traffic) {
  const found = [];
  for (const { name, app, version, canary, servers } of registry.backends.values()) {
    if (servers?.length) continue;
    const versions = canary?.percent ? [version, canary.version] : [version];
    if (!versions.some((each) => membersOf(registry, traffic, app, each).taking > 0)) found.push(name);
  }
  return found;
}
