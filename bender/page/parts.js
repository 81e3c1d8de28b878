// Parts that several views use.

import { h } from "./dom.js";
import { duration, metaText } from "./format.js";

/** Return a dot: `ok`, `warn`, `bad`, `accent` or `idle`. The shapes differ too, for users who do not see colours. */
export function dot(state) {
  return h("span", { class: `dot ${state}`, "aria-hidden": "true" });
}

/** Return a table that scrolls sideways if it is too wide; `label` is its name. Rows are elements. */
export function table(label, titles, rows, attributes = {}) {
  const heads = titles.map((title) => h("th", { scope: "col" }, title));
  const head = h("thead", {}, h("tr", {}, heads));
  const whole = h("table", attributes, head, h("tbody", {}, rows));
  return h("div", { class: "wide", role: "region", "aria-label": label, tabindex: "0" }, whole);
}

/** Return a row of a table; `title` is the content of its first cell, which names it. */
export function tableRow(key, title, cells) {
  return h("tr", { "data-key": key }, h("th", { scope: "row" }, title), cells);
}

/** Return pairs of a name and a content as a list. A pair may be null, and is then left out. */
export function facts(pairs, attributes = { class: "facts card" }) {
  const items = pairs
    .filter(Boolean)
    .map(([name, content]) => [h("dt", { "data-key": name }, name), h("dd", { "data-key": `${name}: ` }, content)]);
  return h("dl", attributes, items);
}

/** Return controls that are disabled while the page is not connected to the node. */
export function controls(page, attributes, ...children) {
  return h("fieldset", { ...attributes, disabled: page.live.state !== "live" }, children);
}

/** Return elements with commas between them. */
export function commas(elements) {
  return elements.map((element, index) => [index > 0 && ", ", element]);
}

/** Return the remaining time of a ttl, both in seconds, as a bar and as text. */
export function timeLeft(left, ttl) {
  return [
    h("meter", {
      min: "0",
      max: "1",
      low: "0.34",
      optimum: "1",
      value: Math.min(1, left / ttl),
      "aria-label": "Time left",
    }),
    h("span", { class: "seconds" }, duration(left)),
  ];
}

/** Return the `meta` of a registration. */
export function metaPairs(meta) {
  return Object.entries(meta ?? {}).map(([key, value]) =>
    h("span", { class: "pair" }, h("i", {}, key), "=", metaText(value)),
  );
}

/** Return the words of a search, in lower case. */
export function wordsOf(query) {
  return query.toLowerCase().split(/\s+/).filter(Boolean);
}
