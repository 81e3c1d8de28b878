// One frontend: its addresses, its rules, and the backends that get its requests.

import { h } from "../dom.js";
import { table, tableRow } from "../parts.js";
import { compareNames } from "../registry.js";
import { href } from "../router.js";
import { change } from "../settings.js";
import { servesText, UNSERVED } from "./backend_traffic.js";
import { SettingDetail } from "./setting_detail.js";

export class FrontendDetail extends SettingDetail {
  #target = null;

  constructor(page, name) {
    super(page, "frontend", name);
  }

  about({ bind, mode = "http" }) {
    return bind ? `Listens at ${bind}, mode ${mode}` : `Mode ${mode}, no bind address`;
  }

  body(frontend) {
    return [h("div", { class: "card" }, this.#routes(frontend)), this.changes(frontend, this.#switchAction(frontend))];
  }

  effect({ backend, rules = [] }) {
    const all = rules.length ? "All requests that match no rule" : "All requests";
    return [backend ? `${all} go to the backend ${backend}.` : `${all} go to no backend.`];
  }

  forgetChoice() {
    this.#target = null;
  }

  #routes({ rules = [], backend }) {
    const routes = rules.map((rule) => [condition(rule), rule.backend]);
    routes.push([rules.length ? "all other requests" : "all requests", backend]);
    const rows = routes.map(([requests, name], index) => tableRow(String(index), requests, this.#cells(name)));
    return table("Routes", ["Requests", "Backend", "Serves"], rows);
  }

  #cells(name) {
    if (!name) return [h("td", { class: "bad" }, "none"), h("td")];
    const backend = this.page.registry.backends.get(name);
    const isServed = backend && !this.page.unserved.has(name);
    return [
      h("td", {}, h("a", { href: href("deploys", ["backend", name]) }, name)),
      h(
        "td",
        {},
        backend ? servesText(backend) : "does not exist",
        backend && !isServed && h("b", { class: "bad" }, ` ${UNSERVED}`),
      ),
    ];
  }

  #switchAction(frontend) {
    const { backends } = this.page.registry;
    const others = [...backends.keys()].filter((name) => name !== frontend.backend).sort(compareNames);
    const chosen = others.includes(this.#target) ? this.#target : (others[0] ?? "");
    const choose = ({ target }) => {
      this.#target = target.value;
      this.update();
    };
    const options = others.length
      ? others.map((name) => h("option", { value: name, "data-key": name }, name))
      : h("option", { value: "" }, "there is no other backend");
    const ask = () => this.#switch(frontend, chosen);
    return h("div", { class: "action" }, [
      h("label", { class: "label", for: "send-to" }, "Send to"),
      h("select", { id: "send-to", disabled: !others.length, value: chosen, onchange: choose }, options),
      h("button", { type: "button", disabled: !others.length, onclick: ask }, "Switch…"),
    ]);
  }

  #switch({ name, backend: before }, backend) {
    const instead = before ? `, and no longer to ${before}.` : ".";
    return this.ask({
      title: `Send ${name} to ${backend}?`,
      lines: () => [`All requests of ${name} that match no rule go to the backend ${backend} at once${instead}`],
      button: `Send to ${backend}`,
      act: (options) => change(this.page.api, this.id, { backend }, options),
    });
  }
}

function condition(rule) {
  if (rule.host !== undefined) return `host ${rule.host}`;
  if (rule.path !== undefined) return `path ${rule.path}`;
  return `header ${rule.header}: ${rule.value}`;
}
