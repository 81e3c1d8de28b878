// Questions: for a token, and before what takes traffic away.

import { ApiError } from "./api.js";
import { h, render } from "./dom.js";

/** Advice in the node's refusals that is for other clients: the dialog has buttons instead. */
const FOR_OTHERS = /:? ?nothing was changed|; add \?force [^)]*\)/gi;

const STALE = "Somebody else has changed it while this was open. Close this, and look at it again.";

const NO_ANSWER =
  "The node does not answer, so it is not known whether anything has changed. Close this, and look at it again, " +
  "here or at another node.";

/**
 * Ask before something is done, and do it: `act({force, choice})` is called when the user confirms. What the node
 * refuses is shown in the dialog; if it would do it when forced (409), the user may choose that.
 *
 * `lines` returns sentences that say what will happen, as things are, `choice` is a question with options, as
 * `{label, value, options}` with pairs of a value and a text, and `author` the API if the change is in a history.
 * Resolve to true if it was done.
 */
export function confirm({ title, lines, button, danger = false, act, author = null, choice = null }) {
  return new Promise((resolve) => {
    const dialog = h("dialog", { class: "dialog", "aria-labelledby": "dialog-title" });
    let refused = null;
    let chosen = choice?.value;
    let busy = false;
    let done = false;
    let acting = null;

    const doIt = async () => {
      busy = true;
      draw();
      try {
        await act({ force: refused?.code === "CONFLICT", choice: chosen });
        done = true;
        dialog.close();
      } catch (error) {
        refused = error;
      }
      busy = false;
      if (done) return;
      draw();
      dialog.querySelector("button[type=button]").focus();
    };

    const submit = (event) => {
      event.preventDefault();
      if (!busy) acting = doIt();
    };

    const draw = () => {
      const forced = refused?.code === "CONFLICT";
      const hopeless = refused !== null && !forced;
      const verb = busy ? "Working…" : forced ? `${button} anyway` : button;
      const kind = danger || forced ? "danger" : "primary";
      const form = { method: "dialog", onsubmit: submit };
      const choose = (value) => (chosen = value);
      render(
        dialog,
        h("form", form, [
          h("h2", { id: "dialog-title" }, title),
          lines().map((line) => h("p", {}, line)),
          refused && h("p", { class: "refusal", role: "alert" }, refusalText(refused)),
          choice && !hopeless && choiceField(choice, chosen, choose),
          author && !hopeless && authorField(author),
          h("div", { class: "buttons" }, [
            h(
              "button",
              { type: "button", autofocus: danger, disabled: busy, onclick: () => dialog.close() },
              hopeless ? "Close" : "Cancel",
            ),
            !hopeless &&
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
    // A browser may close it all the same: what is done is told nevertheless.
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

/** Ask for a token; `problem` says why the last one does not do. There is one question at a time. */
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
        h("p", {}, "Tokens are in the file of --tokens, by their hashes: whoever runs the node has yours."),
        h("label", { class: "field" }, h("span", {}, "Token"), input),
        h("p", { class: "hint" }, "It is kept until this tab is closed."),
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
