// What happened to one instance, as all nodes saw it.

import { h } from "../dom.js";
import { whatOf } from "../event_log.js";
import { list, moment } from "../format.js";
import { compareNames } from "../registry.js";
import { momentHref } from "../router.js";

/** Events of several nodes within this time are one change that reached them; clocks differ a little. */
const SAME_MS = 10_000;

/**
 * Return the events that the nodes of an explanation have of an id, newest first. `log` are the events of this node:
 * what an operator set is in them alone.
 */
export function pastEvents(nodes, id, log) {
  const own = new Map(log.filter((event) => event.registration?.id === id).map((event) => [event.at, whatOf(event)]));
  const events = together(nodes, own);
  if (!events.length) return h("p", { class: "hint" }, "No node has an event of it any more.");
  const items = events.map(({ at, what, seenBy }) =>
    h("li", { "data-key": `${at} ${what}` }, [
      h("a", { href: momentHref(at, id) }, moment(at, { millis: true })),
      h("span", {}, what),
      h("span", { class: "muted" }, `seen by ${list(seenBy.toSorted(compareNames))}`),
    ]),
  );
  return h("ol", { class: "past" }, items);
}

/** Return the events of all nodes, newest first. What several saw at about the same time is one, at the first time. */
function together(nodes, own) {
  const seen = nodes.flatMap(({ node, events = [] }) => events.map((event) => ({ ...event, node })));
  const found = [];
  for (const { at, event, reason, node } of seen.sort((a, b) => a.at - b.at)) {
    const what = [event, reason].filter(Boolean).join(", ");
    const isSame = (other) => other.what === what && at - other.at < SAME_MS && !other.seenBy.includes(node);
    let same = found.findLast(isSame);
    if (same) same.seenBy.push(node);
    else found.push((same = { at, what, seenBy: [node] }));
    same.known ??= own.get(at);
  }
  return found.reverse().map((each) => ({ ...each, what: each.known ?? each.what }));
}
