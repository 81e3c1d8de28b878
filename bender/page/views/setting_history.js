// The last settings of a backend or frontend, with the differences from one to the next.

import { h } from "../dom.js";
import { ago, dateTime, settingText } from "../format.js";
import { table, tableRow } from "../parts.js";

const UNSHOWN = new Set(["id", "resource", "name"]);

/** Return a table of the settings in an answer to `GET …/history`; `kind` is `backend` or `frontend`. */
export function historyTable(settings, kind) {
  if (settings === null) return h("p", { class: "hint" }, "Loading…");
  const rows = settings.map((setting, index) =>
    tableRow(`${setting.at} ${index}`, h("time", { title: dateTime(setting.at) }, ago(setting.at)), [
      h("td", {}, setting.author || "unknown"),
      h("td", {}, differences(settings[index + 1]?.[kind], setting[kind])),
    ]),
  );
  return table("History", ["When", "By", "Change"], rows);
}

/** Return the changes of a setting as text; all fields if the previous setting is not known. */
export function differences(before, after) {
  if (!after) return "removed";
  const names = new Set([...fieldsOf(before ?? {}), ...fieldsOf(after)]);
  const texts = [];
  for (const name of names) {
    const [from, to] = [value(name, before?.[name]), value(name, after[name])];
    if (!before) texts.push(`${name} ${to}`);
    else if (from !== to) texts.push(`${name}: ${from} → ${to}`);
  }
  return texts.join(", ") || "no change";
}

function fieldsOf(object) {
  return Object.keys(object).filter((name) => !UNSHOWN.has(name));
}

function value(name, content) {
  if (name === "canary" && content) return `${content.percent} % to ${content.version}`;
  return settingText(content);
}
