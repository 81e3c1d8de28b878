// The events of one instance at all nodes.

import { h } from "../dom.js";
import { whatOf } from "../event_log.js";
import { list, moment } from "../format.js";
import { compareNames } from "../registry.js";
import { momentHref } from "../router.js";

/** Equal events of several nodes within this time are one change, because clocks and delays differ. */
const SAME_MS = 10_000;

/**
 * Return the events of an id at the nodes of an explanation, newest first. `log` has the events of this node, because
 * only these contain the state that an operator has set.
 */
export function pastEvents(nodes, id, log) {
  const own = new Map(log.filter((event) => event.registration?.id === id).map((event) => [event.at, whatOf(event)]));
  const events = mergeEvents(nodes, own);
  if (!events.length) return h("p", { class: "hint" }, "No node has an event of this instance any more.");
  const items = events.map(({ at, what, seenBy }) =>
    h("li", { "data-key": `${at} ${what}` }, [
      h("a", { href: momentHref(at, id) }, moment(at, { millis: true })),
      h("span", {}, what),
      h("span", { class: "muted" }, `seen by ${list(seenBy.toSorted(compareNames))}`),
    ]),
  );
  return h("ol", { class: "past" }, items);
}

/** Return the events of all nodes, newest first. Equal events at about the same time are one, with the first time. */
function mergeEvents(nodes, own) {
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
