// The common part of the details of backends and frontends: the title, the history, and the controls for changes.

import { confirm, sentence } from "../dialogs.js";
import { h, render } from "../dom.js";
import { controls } from "../parts.js";
import { href } from "../router.js";
import { history, load, rollBack } from "../settings.js";
import { differences, historyTable } from "./setting_history.js";

/** An ETag that no object has, so that the node refuses a change of an object that differs from the displayed one. */
const OUTDATED = '"outdated"';

/** The pause before a history is requested again that could not be loaded. */
const RETRY_MS = 5_000;

export class SettingDetail {
  element = h("article", { class: "detail" });
  page;
  #kind;
  #name;
  // The last settings of the displayed object, newest first; null until they are loaded.
  #history = null;
  #problem = null;
  #loadedAt = -Infinity;
  #drawnSetting = null;

  /** `kind` is `backend` or `frontend`. */
  constructor(page, kind, name) {
    this.page = page;
    this.#kind = kind;
    this.#name = name;
  }

  get title() {
    return this.#name;
  }

  get id() {
    return `${this.#kind}/${this.#name}`;
  }

  /** The present backend or frontend; undefined if it does not exist. */
  get object() {
    return this.page.registry[`${this.#kind}s`].get(this.#name);
  }

  /** Return the line below the title. */
  about() {
    throw new Error("subclasses define this");
  }

  /** Return the elements between the title and the history. */
  body() {
    throw new Error("subclasses define this");
  }

  /** Forget the choices of the user that are not applied. */
  forgetChoice() {}

  /** Load the history, which events do not contain. Ignore the answer if the object has changed meanwhile. */
  async load() {
    const drawn = this.#drawnSetting;
    this.#loadedAt = performance.now();
    try {
      const settings = await history(this.page.api, this.id);
      if (drawn !== this.#drawnSetting) return;
      this.#history = settings;
      this.#problem = null;
    } catch (error) {
      this.#problem = error.message;
    }
    this.page.draw();
  }

  update() {
    const { object } = this;
    const setting = JSON.stringify(object);
    if (setting !== this.#drawnSetting) {
      this.#drawnSetting = setting;
      this.#history = this.#problem = null;
      if (object) this.load();
    } else if (this.#problem !== null && performance.now() > this.#loadedAt + RETRY_MS) {
      this.load();
    }
    const back = h("a", { class: "back", href: href("deploys") }, "← All");
    if (!object) {
      const missing = this.page.registry.synced ? `There is no ${this.#kind} ${this.#name}.` : "Loading…";
      render(this.element, back, h("h2", {}, this.#name), h("p", {}, missing));
      return;
    }
    render(
      this.element,
      h("header", {}, back, h("h2", {}, object.name), h("p", { class: "hint" }, this.about(object))),
      this.body(object),
      h("h3", {}, "History"),
      this.#history === null && this.#problem !== null
        ? h("p", { class: "hint" }, sentence(this.#problem))
        : historyTable(this.#history, this.#kind),
    );
  }

  /** Change the object after a confirmation. The node refuses that if the object has changed since it was drawn. */
  async ask({ act, lines, ...question }) {
    const drawn = this.#drawnSetting;
    let problem = null;
    const loaded = await load(this.page.api, this.id).catch((error) => (problem = error));
    const etag = loaded !== null && JSON.stringify(loaded.body) === drawn ? loaded.etag : OUTDATED;
    const done = await confirm({
      ...question,
      lines: () => lines().filter(Boolean),
      author: this.page.api,
      act: async ({ force }) => {
        if (problem !== null) throw problem;
        await act({ etag, force });
      },
    });
    if (!done) return;
    this.forgetChoice();
    this.page.announce(`${this.#name} has changed.`);
    await this.load();
  }

  /** Return the controls for changes, the rollback last; null if the token does not permit changes. */
  changes(object, ...actions) {
    if (!this.page.api.canConfigure) return null;
    const attributes = { class: "card actions", "aria-label": "Change" };
    return controls(this.page, attributes, actions, this.#rollBackAction(object));
  }

  /** Return sentences about the effect of a setting. */
  effect() {
    return [];
  }

  #rollBackAction(object) {
    // The newest setting of the history must be the displayed one, or the node would go back to an unexpected setting.
    const isCurrent = JSON.stringify(this.#history?.[0]?.[this.#kind]) === this.#drawnSetting;
    const before = isCurrent ? (this.#history[1]?.[this.#kind] ?? null) : null;
    const changes = before && differences(object, before);
    const roll = () =>
      this.ask({
        title: `Roll ${object.name} back?`,
        lines: () => [
          ...this.effect(before),
          `This restores the previous setting: ${changes}. A second rollback undoes the first one.`,
        ],
        button: "Roll back",
        act: (options) => rollBack(this.page.api, this.id, options),
      });
    return h("div", { class: "action" }, [
      h("span", { class: "label" }, "Roll back"),
      h(
        "span",
        { class: "hint" },
        before ? `to the previous setting: ${changes}` : isCurrent && "There is no earlier setting.",
      ),
      h("button", { type: "button", disabled: before === null, onclick: roll }, "Roll back…"),
    ]);
  }
}
