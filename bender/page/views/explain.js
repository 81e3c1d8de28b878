// *Explain*: whether one instance is in rotation, the reason, and what each node knows about it.

import { pathOf } from "../api.js";
import { confirm, sentence } from "../dialogs.js";
import { h, render } from "../dom.js";
import { ago, duration, hostPort, list, moment } from "../format.js";
import { commas, controls, dot, facts, metaPairs, table, tableRow, timeLeft } from "../parts.js";
import { Poll } from "../poll.js";
import { compareNames } from "../registry.js";
import { href } from "../router.js";
import { deregister, setState } from "../settings.js";
import { pastEvents } from "./past_events.js";
import { othersTaking, verdictOf } from "./verdict.js";

const ASK_MS = 2_000;

/** The states that an operator can set: the text of the button, the question, and the effect. */
const STATES = {
  drain: { title: "Drain", asks: "Drain …", means: "The instance gets no new requests. Present ones continue." },
  maint: { title: "Set to maintenance", asks: "Set … to maintenance", means: "The instance gets no requests." },
  up: {
    title: "Back to service",
    asks: "Put … back to service",
    means: "The instance gets requests again, as long as it renews and its checks pass.",
  },
};

/** The durations of a state that an operator sets, in seconds. */
const LASTS = {
  label: "Duration (you can end the state earlier)",
  value: "86400",
  options: [
    ["3600", "an hour"],
    ["86400", "a day"],
    ["604800", "a week"],
  ],
};

const DEREGISTERING =
  "All nodes stop listing the instance at once, and load balancers send it no more requests. If it still runs and " +
  "renews, it registers again. So drain an instance that continues to run, instead of deregistering it.";

export class ExplainView {
  element = h("section", { class: "view explain" });
  #page;
  #id = "";
  // The last answer to `GET /explain`; null before the first one, and if no node knows the id.
  #answer = null;
  // The last known registration, because the answer about a removed instance has none.
  #known = null;
  #problem = null;
  #poll = new Poll(ASK_MS, () => this.#ask());

  constructor(page) {
    this.#page = page;
  }

  get title() {
    const { app, address } = this.#names();
    return `${app} ${address}`;
  }

  show(router) {
    const id = router.parts.join("/");
    if (id !== this.#id) {
      this.#id = id;
      this.#answer = this.#problem = null;
      this.#known = this.#page.registry.get(id)?.registration ?? null;
    }
    this.#poll.start();
    this.#poll.now();
  }

  hide() {
    this.#poll.stop();
  }

  update() {
    const { app, version, address } = this.#names();
    render(
      this.element,
      this.#back(),
      h("h1", {}, h("span", { class: "muted" }, `${app} ${version} `), address),
      this.#problem && this.#failure(),
      this.#answer === null ? !this.#problem && h("p", { class: "hint" }, "Asking all nodes…") : this.#explanation(),
    );
  }

  async #ask() {
    const id = this.#id;
    if (!/^registration(\/[^/]+){4}$/.test(id)) {
      this.#problem = new Error(
        "this address has no id of an instance: it must end in registration/APP/VERSION/HOST/PORT",
      );
      return this.#page.draw();
    }
    let answer = null;
    let problem = null;
    try {
      answer = await this.#page.api.get(`explain/${pathOf(id, "registration")}`);
    } catch (error) {
      problem = error;
    }
    if (id !== this.#id) return; // the user has opened another instance meanwhile
    if (answer !== null || problem.status === 404) this.#answer = answer;
    this.#known = answer?.registration ?? this.#known;
    this.#problem = problem;
    return this.#page.draw();
  }

  #names() {
    const [, app = "", version = "", host = "", port = ""] = this.#id.split("/");
    return { app, version, address: host && hostPort({ host, port }) };
  }

  /** Return a link back to the list, with its last search. */
  #back() {
    const query = this.#page.router.queries.now ?? "";
    return h("a", { class: "back", href: href("now", [], query) }, query ? `← Now: ${query}` : "← Now");
  }

  #failure() {
    if (this.#problem.status !== 404)
      return h("p", { class: "refusal", role: "alert" }, sentence(this.#problem.message));
    const { address } = this.#names();
    return h("div", { class: "refusal", role: "alert" }, [
      h("p", {}, `No node knows ${this.#id}.`),
      h("p", {}, [
        "It was never registered with this id, or ended too long ago. Check app, version, host and port, and search ",
        h("a", { href: href("now", [], address) }, `Now for ${address}`),
        " and ",
        h("a", { href: href("events", [], address) }, "the events"),
        ".",
      ]),
    ]);
  }

  #explanation() {
    const nodes = this.#answer.nodes.toSorted((a, b) => compareNames(a.node, b.node));
    const { text, state } = verdictOf(this.#answer);
    const columns = ["Node", "Lists it", "Last renewal", "Time left", "Claims of other nodes"];
    const command = `bender explain '${this.#id.replace(/^registration\//, "").replaceAll("'", String.raw`'\''`)}'`;
    return [
      h("div", { class: `why is-${state}`, role: "status" }, [
        h("p", { class: "verdict" }, dot(state), text),
        h("p", {}, reasonOf(this.#answer.why)),
      ]),
      this.#actions(),
      factsOf(this.#answer, this.#known),
      h("h2", {}, "What the nodes know"),
      table("What the nodes know", columns, nodes.map(nodeRow)),
      h("h2", {}, "Recent events"),
      pastEvents(nodes, this.#id, this.#page.log.events),
      h("p", { class: "hint" }, "On the command line: ", h("code", {}, command)),
    ];
  }

  #actions() {
    const { registration } = this.#answer;
    if (registration === null) return null;
    const { api } = this.#page;
    const states = api.canConfigure ? Object.keys(STATES) : [];
    const buttons = states.map((state) => {
      const attributes = { type: "button", "data-key": state, disabled: state === registration.state };
      return h("button", { ...attributes, onclick: () => this.#setState(state) }, `${STATES[state].title}…`);
    });
    if (api.canRegister(registration.app)) {
      const attributes = { type: "button", class: "dangerous", onclick: () => this.#deregister() };
      buttons.push(h("button", attributes, "Deregister…"));
    }
    return buttons.length > 0 && controls(this.#page, { class: "actions" }, buttons);
  }

  #setState(state) {
    const { title, asks, means } = STATES[state];
    const { registration, backends } = this.#answer;
    const { app, version } = registration;
    return this.#act({
      title: `${asks.replace("…", hostPort(registration))} (${app} ${version})?`,
      lines: () => [means, ...(state === "up" ? [] : othersTaking(this.#page, registration, backends))],
      button: title,
      danger: state !== "up",
      choice: state === "up" ? null : LASTS,
      author: this.#page.api,
      act: ({ force, choice }) => setState(this.#page.api, this.#id, state, Number(choice), { force }),
    });
  }

  #deregister() {
    return this.#act({
      title: `Deregister ${hostPort(this.#answer.registration)}?`,
      lines: () => [DEREGISTERING],
      button: "Deregister",
      danger: true,
      act: () => deregister(this.#page.api, this.#id),
    });
  }

  async #act(question) {
    if (await confirm(question)) this.#poll.now();
  }
}

/** Return the node's reason as a sentence for this page: with local times, and without commands. */
function reasonOf(why) {
  const local = (_, date, time) => {
    const at = Date.parse(`${date}T${time}Z`);
    return `${moment(at)} (${ago(at)})`;
  };
  return sentence(why.replace(/(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d) UTC/g, local).replace(/ \(bender [^)]*\)/g, ""));
}

function factsOf({ listed, registration, backends, word, checks }, known) {
  const links = backends.map(({ name, as }) => [
    h("a", { href: href("deploys", ["backend", name]) }, name),
    as === "canary" && " (canary)",
  ]);
  const latest = registration ?? known;
  const by =
    word && `${word.state}, set by ${word.author || "unknown"} ${ago(word.at)}, for another ${duration(word.left)}`;
  const meta = latest && Object.keys(latest.meta ?? {}).length > 0;
  return facts([
    ["Backends", links.length ? commas(links) : "No backend sends requests to this version"],
    latest && ["Weight", String(latest.weight)],
    latest && ["Registered", `${moment(latest.registered)} (${ago(latest.registered)}) at ${latest.node}`],
    latest && ["Ttl", `${duration(latest.ttl)} without a renewal`],
    meta && ["Meta", metaPairs(latest.meta)],
    word && ["State", by],
    listed && checks.length > 0 && ["Checks", checks.map(checkResult)],
  ]);
}

function checkResult({ consumer, down }) {
  return h("span", { class: down ? "pair bad" : "pair" }, `${consumer}: ${down ? "down" : "not reported down"}`);
}

function nodeRow({ answered, node, address, problem, ready, listed, hidden, claim, sees, ended, suspect }) {
  if (!answered) return tableRow(address, [dot("bad"), node], h("td", { colspan: "4", class: "bad" }, problem));
  const lists =
    suspect !== null ? `suspect for ${duration(suspect)}` : hidden ? "hidden (node-lost)" : listed ? "yes" : "no";
  const others = sees.map(claimElement);
  if (ended.length) others.push(h("span", { class: "pair" }, `deregistered at ${list(ended)}`));
  return tableRow(
    address,
    [dot(ready ? "ok" : "warn"), node],
    [
      h("td", { class: listed ? null : "bad" }, lists, !ready && h("span", { class: "warn" }, " not ready")),
      h("td", {}, claim ? `${duration(claim.renewed)} ago` : "–"),
      h("td", { class: "left" }, claim ? timeLeft(claim.left, claim.ttl) : "–"),
      h("td", {}, others.length ? others : "–"),
    ],
  );
}

/** Return the claim of another node as a node knows it, with the reason if the claim does not count. */
function claimElement({ node, earlier, counts, why, heard }) {
  if (earlier) return h("span", { class: "pair muted" }, `${node} before its restart`);
  if (counts) return h("span", { class: "pair" }, node);
  const since = heard === null ? "" : `, heard ${duration(heard)} ago`;
  return h("span", { class: "pair bad" }, `${node} (${why}${since})`);
}
