// The rows of *Now* as elements: apps, versions and instances.

import { h } from "../dom.js";
import { ago, count, hostPort, list, number, percent } from "../format.js";
import { dot, metaPairs, timeLeft } from "../parts.js";
import { explainHref, href } from "../router.js";

/** The columns of instances. */
export const COLUMNS = ["Instance", "State", "Weight", "Time left", "Heard by", "Registered", "Meta"];

/** The time for which a change is highlighted. */
const FRESH_MS = 4_000;

/** Return the element of the row of an app with these attributes. */
export function appElement({ app, open }, attributes) {
  const about = `${count(app.online, "instance")} of ${count(app.versions.length, "version")}`;
  return h("div", { ...attributes, class: "row app", "aria-level": "1" }, [
    cell("name", [toggle(open), h("b", {}, app.name)]),
    cell("about", about),
  ]);
}

/** Return the row of a version, with the backends that send to it. */
export function versionElement({ version, serving, open }, attributes) {
  const none = serving.length > 0 && version.online === 0;
  return h("div", { ...attributes, class: "row version", "aria-level": "2" }, [
    cell("name", [toggle(open), h("span", { title: version.name }, version.name)]),
    cell("about", [
      none ? h("b", { class: "bad" }, "no instances") : count(version.online, "instance"),
      serving.map(servingChip),
    ]),
  ]);
}

/**
 * Return the row of an instance with a status. `claimed` is the last answer about its claims, `{claims, missing, at}`:
 * undefined if there is none yet, and null while the node does not answer.
 */
export function instanceElement(entry, status, claimed, attributes) {
  const { registration, gone, change } = entry;
  const link = explainHref(entry.id);
  const explain = (event) => event.target.closest("a") || (location.hash = link);
  const kind = ["row instance", gone ? "is-gone" : `is-${status.dot}`, freshness(change)].filter(Boolean).join(" ");
  return h("div", { ...attributes, class: kind, "aria-level": "3", onclick: explain }, [
    cell("name", h("a", { href: link, tabindex: "-1", title: hostPort(registration) }, address(registration))),
    cell("state", [dot(status.dot), status.text]),
    cell("weight", number(registration.weight)),
    cell("left", gone ? null : leftOf(claimed)),
    cell("claims", gone ? null : (claimed?.claims ?? []).map(claimName)),
    cell("since", gone ? `gone ${ago(change.at)}` : ago(registration.registered)),
    cell("meta", metaPairs(registration.meta)),
  ]);
}

/** Return the address of an instance. Its port stays visible if the host is too long for the column. */
function address(registration) {
  const whole = hostPort(registration);
  const colon = whole.lastIndexOf(":");
  return [h("span", { class: "host" }, whole.slice(0, colon)), whole.slice(colon)];
}

function cell(kind, content) {
  return h("span", { role: "gridcell", class: kind }, content);
}

function toggle(open) {
  return h("span", { class: "toggle", "aria-hidden": "true" }, open ? "▾" : "▸");
}

/** Return the class of a row that has just changed; null for others. */
function freshness(change) {
  return change !== null && performance.now() - change.seenAt < FRESH_MS ? `fresh-${change.event}` : null;
}

function servingChip({ name, role, percent: share }) {
  const whole = role === "version" && share === 100;
  const text = [name, role === "canary" && "canary", !whole && percent(share)].filter(Boolean).join(" ");
  return h("a", { href: href("deploys", ["backend", name]), class: `chip ${role}`, tabindex: "-1", title: text }, text);
}

/** Return the remaining time of the longest claim; without a claim, the nodes that may still have one. */
function leftOf(claimed) {
  if (!claimed) return h("span", { class: "unknown" }, claimed === null ? "–" : "…");
  const { claims, missing, at } = claimed;
  if (claims.length) return timeLeft(Math.max(0, claims[0].left - (performance.now() - at) / 1000), claims[0].ttl);
  return h("span", { class: "warn" }, missing.length ? `waits for ${list(missing)}` : "over");
}

function claimName({ node, speaks }, index) {
  return [index > 0 && " ", h("span", { class: speaks ? "speaks" : null }, node)];
}
