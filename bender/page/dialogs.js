// Dialogs: the question for a token, and the confirmation of changes.

import { ApiError } from "./api.js";
import { h, render } from "./dom.js";

/** Advice in the node's refusals for other clients. The dialog has buttons for the same purpose. */
const FOR_OTHERS = /:? ?nothing was changed|; add \?force [^)]*\)/gi;

const STALE = "Another user changed this setting while the dialog was open. Close the dialog and see the new setting.";

const NO_ANSWER =
  "The node does not answer, so the change may or may not be made. Close the dialog and check the result, here or at " +
  "another node.";

/**
 * Ask the user to confirm a change, and make it: `act({force, choice})` is called after the confirmation. A refusal of
 * the node is displayed in the dialog. If the node accepts the change with `force` (409), the user may choose that.
 *
 * `lines` returns sentences about the effect of the change in the present state. `choice` is a question with options,
 * as `{label, value, options}` with pairs of a value and a text. `author` is the API if a history contains the change.
 * Resolve to true if the change was made.
 */
export function confirm({ title, lines, button, danger = false, act, author = null, choice = null }) {
  return new Promise((resolve) => {
    const dialog = h("dialog", { class: "dialog", "aria-labelledby": "dialog-title" });
    let refusal = null;
    let chosen = choice?.value;
    let busy = false;
    let done = false;
    let acting = null;

    const makeChange = async () => {
      busy = true;
      draw();
      try {
        await act({ force: refusal?.code === "CONFLICT", choice: chosen });
        done = true;
        dialog.close();
      } catch (error) {
        refusal = error;
      }
      busy = false;
      if (done) return;
      draw();
      dialog.querySelector("button[type=button]").focus();
    };

    const submit = (event) => {
      event.preventDefault();
      if (!busy) acting = makeChange();
    };

    const draw = () => {
      const forced = refusal?.code === "CONFLICT";
      const isFinal = refusal !== null && !forced;
      const verb = busy ? "Working…" : forced ? `${button} anyway` : button;
      const kind = danger || forced ? "danger" : "primary";
      const form = { method: "dialog", onsubmit: submit };
      const choose = (value) => (chosen = value);
      render(
        dialog,
        h("form", form, [
          h("h2", { id: "dialog-title" }, title),
          lines().map((line) => h("p", {}, line)),
          refusal && h("p", { class: "refusal", role: "alert" }, refusalText(refusal)),
          choice && !isFinal && choiceField(choice, chosen, choose),
          author && !isFinal && authorField(author),
          h("div", { class: "buttons" }, [
            h(
              "button",
              { type: "button", autofocus: danger, disabled: busy, onclick: () => dialog.close() },
              isFinal ? "Close" : "Cancel",
            ),
            !isFinal &&
              h(
                "button",
                { type: "submit", class: kind, autofocus: !danger, "aria-disabled": busy ? "true" : null },
                verb,
              ),
          ]),
        ]),
      );
    };

    draw();
    dialog.addEventListener("cancel", (event) => busy && event.preventDefault());
    // A browser may close the dialog during the change. The result is returned nevertheless.
    open(dialog, () => Promise.resolve(acting).then(() => resolve(done)));
  });
}

function refusalText(error) {
  if (error.code === "STALE") return STALE;
  if (!(error instanceof ApiError)) return NO_ANSWER;
  return sentence(error.message.replace(FOR_OTHERS, "").replace(/[.;:\s]+$/, ""));
}

function choiceField({ label, options }, chosen, choose) {
  const items = options.map(([value, text]) => h("option", { value }, text));
  const select = h("select", { value: chosen, onchange: (event) => choose(event.target.value) }, items);
  return h("label", { class: "field" }, h("span", {}, label), select);
}

function authorField(api) {
  const input = h("input", {
    type: "text",
    maxlength: "64",
    autocomplete: "nickname",
    value: api.author,
    oninput: (event) => (api.author = event.target.value.trim()),
  });
  return h("label", { class: "field" }, h("span", {}, "Your name, for the history (optional)"), input);
}

let asking = null;

/** Ask the user for a token; `problem` is the reason why the node refuses the last one. Show one dialog at a time. */
export function askToken(api, problem) {
  asking ??= new Promise((resolve) => {
    const dialog = h("dialog", { class: "dialog", "aria-labelledby": "dialog-title" });
    let text = "";
    const submit = (event) => {
      event.preventDefault();
      if (!text.trim()) return;
      api.token = text.trim();
      dialog.close();
    };
    const typed = (event) => (text = event.target.value);
    const input = h("input", { type: "password", autocomplete: "off", required: true, oninput: typed });
    render(
      dialog,
      h("form", { method: "dialog", onsubmit: submit }, [
        h("h2", { id: "dialog-title" }, "This node requires a token"),
        api.token !== null && h("p", { class: "refusal", role: "alert" }, sentence(problem)),
        h("p", {}, "Ask the operator of the node for a token. The node itself has only hashes of the tokens."),
        h("label", { class: "field" }, h("span", {}, "Token"), input),
        h("p", { class: "hint" }, "The page keeps the token until you close this tab."),
        h("div", { class: "buttons" }, [
          h("button", { type: "button", onclick: () => dialog.close() }, "Not now"),
          h("button", { type: "submit", class: "primary" }, "Use this token"),
        ]),
      ]),
    );
    open(dialog, () => {
      asking = null;
      resolve();
    });
  });
  return asking;
}

function open(dialog, closed) {
  dialog.addEventListener("close", () => {
    dialog.remove();
    closed();
  });
  document.body.append(dialog);
  dialog.showModal();
}

/** Return a message of the API as a sentence. An id at its beginning stays as it is. */
export function sentence(message) {
  const isId = /^\w+\//.test(message);
  const text = isId ? message : message.charAt(0).toUpperCase() + message.slice(1);
  return /[.!?]$/.test(text) ? text : `${text}.`;
}
