// One backend: the version that gets its traffic, and the controls that change it.

import { h } from "../dom.js";
import { list, percent, settingText } from "../format.js";
import { commas, facts } from "../parts.js";
import { compareNames } from "../registry.js";
import { href } from "../router.js";
import { change } from "../settings.js";
import { membersSection, membersText, partsOf, trafficSection } from "./backend_traffic.js";
import { SettingDetail } from "./setting_detail.js";

/** Fields that this view shows in another form. */
const SHOWN_ELSEWHERE = ["id", "resource", "name", "app", "version", "canary"];

export class BackendDetail extends SettingDetail {
  // The choices of the user that are not applied yet; null for the present setting.
  #target = null;
  #canaryVersion = null;
  #canaryPercent = null;

  constructor(page, name) {
    super(page, "backend", name);
  }

  about(backend) {
    const names = [...this.page.registry.frontends.values()]
      .filter(({ backend: name, rules = [] }) => [name, ...rules.map((rule) => rule.backend)].includes(backend.name))
      .map((frontend) => frontend.name)
      .sort(compareNames);
    if (!names.length) return "No frontend uses it.";
    const links = names.map((name) => h("a", { href: href("deploys", ["frontend", name]) }, name));
    return ["Used by ", commas(links)];
  }

  body(backend) {
    return [
      trafficSection(this.page, backend),
      this.changes(backend, this.#switchAction(backend), this.#canaryAction(backend)),
      membersSection(this.page, backend),
      otherFields(backend),
    ];
  }

  effect(backend) {
    const { app } = backend;
    const parts = partsOf(backend).filter(({ share }) => share > 0);
    const target = ({ version }) => `${app} ${version} (${membersText(this.page, app, version)})`;
    if (parts.length === 1) return [`All requests go to ${target(parts[0])}.`];
    return [`${list(parts.map((part) => `${percent(part.share)} of the requests go to ${target(part)}`))}.`];
  }

  forgetChoice() {
    this.#target = this.#canaryVersion = this.#canaryPercent = null;
  }

  // Controls.

  #others(backend) {
    const versions = this.page.registry.versions(backend.app).map((version) => version.name);
    return versions.filter((name) => name !== backend.version);
  }

  #switchAction(backend) {
    const others = this.#others(backend);
    const chosen = others.includes(this.#target) ? this.#target : (others.at(-1) ?? "");
    const ask = () => this.#switch(backend, chosen);
    return h("div", { class: "action" }, [
      h("label", { class: "label", for: "switch-to" }, "Switch to"),
      this.#versionSelect(backend, others, "switch-to", chosen, (version) => (this.#target = version)),
      h("button", { type: "button", disabled: !others.length, onclick: ask }, "Switch…"),
    ]);
  }

  #canaryAction(backend) {
    const present = backend.canary ?? null;
    const others = this.#others(backend);
    if (present && !others.includes(present.version)) others.push(present.version);
    const chosen = this.#canaryVersion ?? present?.version;
    const version = others.includes(chosen) ? chosen : others.at(-1);
    const share = this.#canaryPercent ?? present?.percent ?? 0;
    const same = present?.version === version && present?.percent === share;
    const ask = () => this.#setCanary(backend, version, share);
    return h("div", { class: "action" }, [
      h("label", { class: "label", for: "canary-version" }, "Canary"),
      this.#versionSelect(backend, others, "canary-version", version ?? "", (name) => (this.#canaryVersion = name)),
      this.#shareInputs(share, !version),
      h(
        "button",
        { type: "button", disabled: !version || same || share === 0, onclick: ask },
        present ? "Change…" : "Start…",
      ),
      present && h("button", { type: "button", onclick: () => this.#endCanary(backend) }, "End…"),
    ]);
  }

  /** Return a slider, and a field for numbers that the slider cannot express. */
  #shareInputs(share, disabled) {
    const oninput = ({ target }) => {
      const percent = Number(target.value);
      if (target.value !== "" && percent >= 0 && percent <= 100) this.#choose(() => (this.#canaryPercent = percent));
    };
    const common = { min: "0", max: "100", disabled, value: String(share), oninput };
    return [
      h("input", { ...common, type: "range", "aria-label": "Share of the canary in percent" }),
      h(
        "span",
        { class: "share" },
        h("input", { ...common, type: "number", step: "any", "aria-label": "Share, as a number" }),
        " %",
      ),
    ];
  }

  #versionSelect(backend, names, id, chosen, choose) {
    const options = names.map((name) =>
      h("option", { value: name, "data-key": name }, `${name} (${membersText(this.page, backend.app, name)})`),
    );
    const onchange = ({ target }) => this.#choose(() => choose(target.value));
    const none = h("option", { value: "" }, "no other version has members");
    return h("select", { id, disabled: !names.length, value: chosen, onchange }, names.length ? options : none);
  }

  #choose(set) {
    set();
    this.update();
  }

  // Changes.

  #switch({ name, app, version: before, canary }, version) {
    const members = (each) => `${app} ${each} (${membersText(this.page, app, each)})`;
    return this.ask({
      title: `Switch ${name} to ${version}?`,
      lines: () => [
        `All requests of ${name} go to ${members(version)} at once, and none to ${members(before)}.`,
        canary && `The canary of ${percent(canary.percent)} to ${canary.version} ends.`,
      ],
      button: `Switch to ${version}`,
      act: (options) => change(this.page.api, this.id, { version, canary: null }, options),
    });
  }

  #setCanary(backend, version, share) {
    const canary = { version, percent: share };
    return this.ask({
      title: `Send ${percent(share)} of ${backend.name} to ${version}?`,
      lines: () => this.effect({ ...backend, canary }),
      button: `Send ${percent(share)}`,
      act: (options) => change(this.page.api, this.id, { canary }, options),
    });
  }

  #endCanary(backend) {
    return this.ask({
      title: `End the canary of ${backend.name}?`,
      lines: () => this.effect({ ...backend, canary: null }),
      button: "End the canary",
      act: (options) => change(this.page.api, this.id, { canary: null }, options),
    });
  }
}

function otherFields(backend) {
  const fields = Object.entries(backend).filter(([name]) => !SHOWN_ELSEWHERE.includes(name));
  return (
    fields.length > 0 && [h("h3", {}, "Settings"), facts(fields.map(([name, value]) => [name, settingText(value)]))]
  );
}
