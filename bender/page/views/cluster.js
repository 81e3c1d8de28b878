// *Cluster*: the nodes, which of them hear each other, their differences, and the programs that follow their events.

import { sentence } from "../dialogs.js";
import { h, render } from "../dom.js";
import { ago, count, duration, number } from "../format.js";
import { dot, facts, table, tableRow } from "../parts.js";
import { Poll } from "../poll.js";
import { compareNames } from "../registry.js";
import { mesh } from "./mesh.js";

const ASK_MS = 2_000;

/** A limit is mentioned when this share of it is used. */
const NEAR = 0.8;

export class ClusterView {
  element = h("section", { class: "view cluster" });
  #page;
  // The last answer to `GET /nodes`; null before the first one.
  #nodes = null;
  #problem = null;
  #polls;

  constructor(page) {
    this.#page = page;
    this.#polls = [new Poll(ASK_MS, () => this.#ask()), new Poll(ASK_MS, () => page.traffic.ask())];
  }

  show() {
    for (const poll of this.#polls) poll.start();
  }

  hide() {
    for (const poll of this.#polls) poll.stop();
  }

  update() {
    const { status, traffic } = this.#page;
    render(
      this.element,
      h("h1", { class: "unseen" }, "Cluster"),
      this.#problems(status.problems),
      this.#problem && h("p", { class: "warn" }, `This may be out of date: ${this.#problem}`),
      this.#nodes === null ? !this.#problem && h("p", { class: "summary" }, "Loading…") : this.#nodesSection(),
      traffic.problem === null && consumersSection(traffic.consumers),
      status.body && h("p", { class: "hint" }, limitsOf(status.body)),
    );
  }

  async #ask() {
    try {
      this.#nodes = await this.#page.api.get("nodes");
      this.#problem = null;
    } catch (error) {
      this.#problem = this.#page.live.state === "live" ? sentence(error.message) : "";
    }
    this.#page.draw();
  }

  #problems(problems) {
    if (!problems.length) return null;
    return h(
      "section",
      { class: "card problems", "aria-label": "Problems" },
      h("h2", {}, count(problems.length, "problem")),
      facts(
        problems.map(([about, text]) => [this.#named(about), text]),
        {},
      ),
    );
  }

  /** Return the subject of a problem. The address of a node gets the node's name. */
  #named(about) {
    const node = this.#nodes?.find(({ address }) => address === about);
    return node && node.node !== about ? `${node.node} (${about})` : about;
  }

  #nodesSection() {
    const { status } = this.#page;
    const commonDigest = mostFrequent(this.#nodes.filter((node) => node.answered).map((node) => node.digest));
    const links = new Map(status.others.map((other) => [other.node, `${other.url}#/cluster`]));
    const rows = this.#nodes.map((node) => {
      const isHere = node.answered && node.incarnation === status.body?.incarnation;
      return nodeRow(node, { commonDigest, isHere, link: links.get(node.node) });
    });
    return [
      h("p", { class: "summary" }, agreement(this.#nodes)),
      h(
        "div",
        { class: "cards" },
        h("section", { class: "card drawing", "aria-label": "Which nodes hear each other" }, mesh(this.#nodes)),
        table("Nodes", ["Node", "Release", "Up for", "Instances", "Digest", "Hears"], rows),
      ),
    ];
  }
}

/** Return a description of how many nodes answer, and whether their states are the same. */
function agreement(nodes) {
  const answered = nodes.filter((node) => node.answered);
  const digests = new Set(answered.map((node) => node.digest)).size;
  const silent = nodes.length - answered.length;
  const differ =
    `The states of the nodes differ: there are ${number(digests)} digests. ` +
    "Nodes that hear each other agree again within a second.";
  return [
    `${count(nodes.length, "node")}. `,
    silent > 0 && h("b", { class: "bad" }, `${count(silent, "node")} ${silent === 1 ? "does" : "do"} not answer. `),
    digests > 1
      ? h("span", { class: "warn" }, differ)
      : answered.length > 1 && "All nodes that answer have the same state.",
  ];
}

function nodeRow(node, { commonDigest, isHere, link }) {
  const state = node.answered ? (node.ready ? "ok" : "warn") : "bad";
  const title = [
    dot(state),
    link ? h("a", { href: link }, node.node) : node.node,
    isHere && h("span", { class: "hint" }, " this node"),
    h("small", {}, node.address),
  ];
  if (!node.answered) return tableRow(node.address, title, h("td", { colspan: "5", class: "bad" }, node.problem));
  return tableRow(node.address, title, [
    h("td", {}, node.version, !node.ready && h("span", { class: "warn" }, " not ready")),
    h("td", {}, duration(node.uptime)),
    h("td", {}, number(node.registrations)),
    h("td", { class: node.digest === commonDigest ? "digest" : "digest warn" }, node.digest.slice(0, 8)),
    h("td", { class: "hears" }, node.hears.toSorted((a, b) => compareNames(a.node, b.node)).map(peerText)),
  ]);
}

function peerText({ node, state, lag }) {
  const since = state === "left" ? "left" : lag === null ? "never" : duration(lag);
  const attributes = { class: state === "heard" ? "pair" : "pair bad", "data-key": node };
  return h("span", attributes, `${node} `, h("span", { class: "lag" }, since));
}

function consumersSection(consumers) {
  const none = "No load balancer and no other named program follows the events.";
  const titles = ["Name", "Node", "Events behind", "Last heard", "Problems"];
  return h(
    "div",
    {},
    h("h2", {}, "Load balancers and watchers"),
    consumers.length
      ? table("Load balancers and watchers", titles, consumers.map(consumerRow))
      : h("p", { class: "hint" }, none),
  );
}

function consumerRow({ name, instance, node, connected, behind, at, report, warning }) {
  const down = report?.down?.length ?? 0;
  const reports = (report?.problems ?? []).map((problem) => problem.why);
  if (down) reports.push(`${count(down, "member")} down`);
  if (warning) reports.push(warning);
  const title = [dot(connected ? "ok" : "bad"), name, !connected && h("span", { class: "hint" }, " disconnected")];
  return tableRow(`${name} ${instance} ${node}`, title, [
    h("td", {}, node),
    h("td", { class: behind > 0 ? "warn" : null }, number(behind)),
    h("td", {}, ago(at)),
    h("td", {}, reports.join("; ") || "–"),
  ]);
}

function limitsOf({ node, counts, interval, ttl, limits }) {
  const near = Object.keys(limits).filter((name) => limits[name].max && limits[name].used / limits[name].max >= NEAR);
  return [
    `${node} has ${count(counts.watchers, "watcher")} and ${count(counts.claims, "claim")}. `,
    `It exchanges its state every ${interval} s; the default ttl is ${ttl} s.`,
    near.length > 0 && h("b", { class: "warn" }, ` Near its limit: ${near.join(", ")}.`),
  ];
}

function mostFrequent(values) {
  const counts = new Map();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1])[0]?.[0];
}
