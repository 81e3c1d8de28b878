// A drawing of the nodes on a circle. The line of a pair shows whether the two hear each other. With many nodes, only
// pairs that do not hear each other have a line, because these need attention.

import { svg } from "../dom.js";

const RADIUS = 108;
const DOT = 7;

/** The room for names beside the nodes, and for a line of text above and below them. */
const ROOM_BESIDE = 60;
const ROOM_ABOVE = 28;

/** With more nodes, only pairs that do not hear each other have a line. */
const LINES_MAX = 12;

/** With more nodes, there is no room for names. */
const NAMES_MAX = 24;

/** Return a drawing of the nodes in an answer to `GET /nodes`. */
export function mesh(nodes) {
  const places = new Map(nodes.map((node, index) => [node.address, place(index, nodes.length)]));
  const lines = links(nodes).filter(({ well }) => !well || nodes.length <= LINES_MAX);
  return svg(
    "svg",
    { class: "mesh", viewBox: viewBox([...places.values()]), role: "img", "aria-label": description(nodes) },
    svg(
      "defs",
      {},
      svg(
        "marker",
        { id: "arrow", viewBox: "0 0 8 8", refX: "7", refY: "4", markerWidth: "7", markerHeight: "7", orient: "auto" },
        svg("path", { d: "M0 0 8 4 0 8z" }),
      ),
    ),
    lines.map((link) => drawnLink(link, places)),
    nodes.map((node, index) => drawnNode(node, places.get(node.address), index, nodes.length)),
  );
}

/** Return the links: one, which is `well`, for nodes that hear each other, else one for each node that does not hear. */
export function links(nodes) {
  const answered = nodes.filter((node) => node.answered);
  const hears = new Map(
    answered.map((node) => [node.address, new Map(node.hears.map((peer) => [peer.address, peer]))]),
  );
  const found = [];
  nodes.forEach((one, index) => {
    for (const other of nodes.slice(index + 1)) {
      const pair = [
        { from: other, to: one },
        { from: one, to: other },
      ];
      const deaf = pair.filter(({ from, to }) => {
        const peer = hears.get(to.address)?.get(from.address);
        return hears.has(to.address) && peer?.state !== "heard";
      });
      if (!deaf.length) found.push({ from: one, to: other, well: one.answered && other.answered });
      else found.push(...deaf.map((link) => ({ ...link, well: false, deaf: true })));
    }
  });
  return found.filter(({ well, deaf }) => well || deaf);
}

function description(nodes) {
  const deaf = links(nodes).filter((link) => link.deaf);
  const silent = nodes.filter((node) => !node.answered).length;
  if (!deaf.length)
    return silent ? "Some nodes do not answer; all others hear each other." : "All nodes hear each other.";
  return deaf
    .map(({ from, to }) => `${to.node} does not hear ${from.node}`)
    .slice(0, 12)
    .join("; ");
}

function place(index, count) {
  const angle = (2 * Math.PI * index) / count - Math.PI / 2;
  const radius = count === 1 ? 0 : RADIUS;
  return { x: radius * Math.cos(angle), y: radius * Math.sin(angle), angle };
}

/** Return the part of the plane with the nodes, always as wide as the circle. */
function viewBox(places) {
  const ys = places.map(({ y }) => y);
  const top = Math.min(...ys) - ROOM_ABOVE;
  const bottom = Math.max(...ys) + ROOM_ABOVE;
  const half = RADIUS + ROOM_BESIDE;
  return [-half, top, 2 * half, bottom - top].map(Math.round).join(" ");
}

function drawnLink({ from, to, well }, places) {
  const a = places.get(from.address);
  const b = places.get(to.address);
  const length = Math.hypot(b.x - a.x, b.y - a.y) || 1;
  const short = (DOT + 4) / length;
  const along = (share) => ({ x: a.x + (b.x - a.x) * share, y: a.y + (b.y - a.y) * share });
  const start = along(short);
  const end = along(1 - short);
  return svg("line", {
    "data-key": `${from.address} ${to.address}`,
    class: well ? "link" : "link deaf",
    x1: start.x.toFixed(1),
    y1: start.y.toFixed(1),
    x2: end.x.toFixed(1),
    y2: end.y.toFixed(1),
    "marker-end": well ? null : "url(#arrow)",
  });
}

function drawnNode(node, { x, y, angle }, index, count) {
  const state = !node.answered ? "bad" : node.ready ? "ok" : "warn";
  const side = Math.cos(angle);
  const anchor = count === 1 || Math.abs(side) < 0.3 ? "middle" : side > 0 ? "start" : "end";
  const below = count === 1 || Math.sin(angle) > 0.3;
  const dx = anchor === "middle" ? 0 : side > 0 ? DOT + 5 : -DOT - 5;
  const dy = anchor === "middle" ? (below ? DOT + 16 : -DOT - 7) : 4;
  const name = node.node.length > 18 ? `${node.node.slice(0, 17)}…` : node.node;
  return svg(
    "g",
    { "data-key": node.address },
    svg(
      "circle",
      { class: `node ${state}`, cx: x.toFixed(1), cy: y.toFixed(1), r: String(DOT) },
      svg("title", {}, node.node),
    ),
    count <= NAMES_MAX && svg("text", { x: (x + dx).toFixed(1), y: (y + dy).toFixed(1), "text-anchor": anchor }, name),
  );
}
