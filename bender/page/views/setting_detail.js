// What the details of a backend and of a frontend share: the title, the history, and how they are changed.

import { confirm, sentence } from "../dialogs.js";
import { h, render } from "../dom.js";
import { controls } from "../parts.js";
import { href } from "../router.js";
import { history, load, rollBack } from "../settings.js";
import { differences, historyTable } from "./setting_history.js";

/** A tag that no object has, so that the node refuses a change of what is not as it was shown. */
const OUTDATED = '"outdated"';

/** A history that could not be loaded is asked for again after this time. */
const RETRY_MS = 5_000;

export class SettingDetail {
  element = h("article", { class: "detail" });
  page;
  #kind;
  #name;
  // The last settings, newest first, of the object as it is shown; null until they are known.
  #history = null;
  #problem = null;
  #loadedAt = -Infinity;
  #shown = null;

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

  /** The backend or frontend as it is set; undefined where there is none. */
  get object() {
    return this.page.registry[`${this.#kind}s`].get(this.#name);
  }

  /** Return the line below the title. */
  about() {
    throw new Error("to be written by each kind");
  }

  /** Return what each kind has between the title and the history. */
  body() {
    throw new Error("to be written by each kind");
  }

  /** Forget what the user has chosen and not applied. */
  forgetChoice() {}

  /** Load what events do not tell: the history. It is dropped if the object has changed meanwhile. */
  async load() {
    const shown = this.#shown;
    this.#loadedAt = performance.now();
    try {
      const settings = await history(this.page.api, this.id);
      if (shown !== this.#shown) return;
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
    if (setting !== this.#shown) {
      this.#shown = setting;
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

  /** Ask, and change the object as it was shown: what others have changed by now, or change then, stays. */
  async ask({ act, lines, ...question }) {
    const shown = this.#shown;
    let problem = null;
    const loaded = await load(this.page.api, this.id).catch((error) => (problem = error));
    const etag = loaded !== null && JSON.stringify(loaded.body) === shown ? loaded.etag : OUTDATED;
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

  /** Return the controls that change it, with the rollback at the end; null where the token does not permit changes. */
  changes(object, ...actions) {
    if (!this.page.api.canConfigure) return null;
    const attributes = { class: "card actions", "aria-label": "Change" };
    return controls(this.page, attributes, actions, this.#rollBackAction(object));
  }

  /** Return sentences about a setting that is to be set again. */
  effect() {
    return [];
  }

  #rollBackAction(object) {
    // The newest setting of the history must be the one that is shown, or the node would go back to another one.
    const isCurrent = JSON.stringify(this.#history?.[0]?.[this.#kind]) === this.#shown;
    const before = isCurrent ? (this.#history[1]?.[this.#kind] ?? null) : null;
    const changes = before && differences(object, before);
    const roll = () =>
      this.ask({
        title: `Roll ${object.name} back?`,
        lines: () => [
          ...this.effect(before),
          `The setting before is set again: ${changes}. A second rollback undoes this.`,
        ],
        button: "Roll back",
        act: (options) => rollBack(this.page.api, this.id, options),
      });
    return h("div", { class: "action" }, [
      h("span", { class: "label" }, "Roll back"),
      h(
        "span",
        { class: "hint" },
        before ? `to the setting before: ${changes}` : isCurrent && "There is no earlier setting.",
      ),
      h("button", { type: "button", disabled: before === null, onclick: roll }, "Roll back…"),
    ]);
  }
}
