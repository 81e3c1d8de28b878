// The traffic of a backend: the share that is set for each version, the measured share, and the members that take it.

import { h, svg } from "../dom.js";
import { ago, count, hostPort, list, number, percent } from "../format.js";
import { membersOf, statusOf } from "../instance_status.js";
import { dot, table, tableRow } from "../parts.js";
import { explainHref, href } from "../router.js";

/** The largest number of members in the list; the view *Now* has all of them. */
const MEMBERS_MAX = 30;

/** The least number of requests for a useful share of errors. */
const REQUESTS_MIN = 20;

/** A version is worse than another one if its share of errors is more percentage points larger than this. */
const WORSE_POINTS = 2;

/** The text for a backend whose requests fail. */
export const UNSERVED = "no member takes traffic";

/** Return a description of the versions that a backend serves. */
export function servesText({ app, version, canary }) {
  return `${app} ${version}${canary?.percent ? ` + ${percent(canary.percent)} ${canary.version}` : ""}`;
}

/** Return the versions of a backend with their shares in percent: `{version, share, role}`. */
export function partsOf({ version, canary }) {
  const share = canary?.percent ?? 0;
  const parts = [{ version, share: 100 - share, role: "version" }];
  if (canary) parts.push({ version: canary.version, share, role: "canary" });
  return parts;
}

/** Return the share of each version, with its members, requests and errors. */
export function trafficSection(page, backend) {
  const { traffic } = page;
  const parts = partsOf(backend);
  const counts = traffic.counts(backend.name);
  for (const [version, { requests }] of counts) {
    const isPart = parts.some((part) => part.version === version);
    if (requests > 0 && !isPart) parts.push({ version, share: 0, role: "former" });
  }
  const total = [...counts.values()].reduce((sum, each) => sum + each.requests, 0);
  const rows = parts.map((part) => shareRow(page, backend, part, counts, total));
  const isServed = !page.unserved.has(backend.name);
  return h("section", { class: "card", "aria-label": "Traffic" }, [
    !isServed && h("p", { class: "bad alarm" }, "No member takes traffic: load balancers answer requests with 503."),
    isServed && shareBar(parts),
    table("Shares", ["Version", "Members", "Set share", "Measured share", "Errors"], rows, { class: "shares" }),
    h("p", { class: "hint" }, measured(traffic, total), fixedServers(backend)),
  ]);
}

/** Return the members of all versions of a backend, with the status of each. */
export function membersSection(page, backend) {
  const { registry, traffic } = page;
  const entries = partsOf(backend).flatMap(({ version }) => registry.entries(backend.app, version));
  const rows = entries.slice(0, MEMBERS_MAX).map((entry) => {
    const { registration, id } = entry;
    const status = statusOf(entry, traffic);
    return tableRow(id, h("a", { href: explainHref(id) }, hostPort(registration)), [
      h("td", {}, registration.version),
      h("td", { class: status.dot === "ok" ? null : status.dot }, dot(status.dot), status.text),
      h("td", {}, number(registration.weight)),
      h("td", {}, ago(registration.registered)),
    ]);
  });
  const more = entries.length - rows.length;
  const all = h("a", { href: href("now", [], `app:${backend.app}`) }, `${count(more, "more member")} in Now`);
  return h("div", {}, [
    h("h3", {}, "Members"),
    rows.length
      ? table("Members", ["Instance", "Version", "State", "Weight", "Registered"], rows)
      : h("p", { class: "hint" }, "No instance of these versions is listed."),
    more > 0 && h("p", { class: "hint" }, all, "."),
  ]);
}

/** Return the members of a version in words: "5 of 7 members". */
export function membersText(page, app, version) {
  const { online, taking } = membersOf(page.registry, page.traffic, app, version);
  return taking === online ? count(online, "member") : `${number(taking)} of ${count(online, "member")}`;
}

function shareRow(page, { app }, { version, share, role }, counts, total) {
  const { online, taking, reasons } = membersOf(page.registry, page.traffic, app, version);
  const counted = counts.get(version) ?? { requests: 0, errors: 0 };
  const link = h("a", { href: href("now", [], `app:${app} version:${version}`) }, `${app} ${version}`);
  const title = [link, role === "canary" && h("span", { class: "chip canary" }, "canary")];
  const why = reasons.length > 0 && h("small", {}, list(reasons));
  return tableRow(version, title, [
    h(
      "td",
      { class: taking === 0 && share > 0 ? "bad" : null },
      taking === online ? number(online) : `${taking} of ${online}`,
      why,
    ),
    h("td", {}, role === "former" ? "–" : percent(share)),
    h("td", {}, total ? percent((100 * counted.requests) / total) : "–"),
    errorsCell(version, counted, counts),
  ]);
}

function errorsCell(version, { requests, errors }, counts) {
  if (!requests) return h("td", {}, "–");
  const others = [...counts].filter(([other, { requests: some }]) => other !== version && some >= REQUESTS_MIN);
  const share = (100 * errors) / requests;
  const isWorse = others.some(([, other]) => share > (100 * other.errors) / other.requests + WORSE_POINTS);
  const of = errors > 0 && h("small", {}, `${number(errors)} of ${number(requests)}`);
  return h("td", { class: isWorse && requests >= REQUESTS_MIN ? "bad" : null }, percent(share), of);
}

function measured(traffic, total) {
  const seconds = Math.round(traffic.measuredS);
  const time = seconds < 55 ? `${seconds} s since you opened this page` : "the last minute";
  if (total) return `Measured by the load balancers: ${count(total, "request")} in ${time}.`;
  if (traffic.hasReports) return "The load balancers report no requests in the last minute.";
  return "No load balancer reports its requests, so the share is not measured.";
}

function fixedServers({ servers = [] }) {
  return servers.length > 0 && ` The backend also has ${count(servers.length, "fixed server")}.`;
}

/** Return a bar that is divided like the traffic. */
function shareBar(parts) {
  let x = 0;
  const bars = parts.map(({ share, role }) => {
    const bar = svg("rect", { class: role, x, width: share, height: 1 });
    x += share;
    return bar;
  });
  return svg("svg", { class: "bar", viewBox: "0 0 100 1", preserveAspectRatio: "none", "aria-hidden": "true" }, bars);
}
