// A small chart of the last values of a measurement. It has no axes, because a number is displayed beside it.

import { svg } from "./dom.js";

const WIDTH = 96;
const HEIGHT = 20;

/** The last values of a measurement that is made at equal intervals. */
export class Series {
  #values;
  #pushed = 0;

  constructor(length) {
    this.#values = new Array(length).fill(0);
  }

  push(value) {
    this.#values.push(value);
    this.#values.shift();
    this.#pushed += 1;
  }

  get values() {
    return this.#values;
  }

  /** Return the mean of the last `count` values; null if there is none yet. */
  mean(count) {
    if (!this.#pushed) return null;
    const last = this.#values.slice(-Math.min(count, this.#pushed));
    return last.reduce((sum, value) => sum + value, 0) / last.length;
  }
}

/** Return a chart of values, the newest at the right. It is hidden from screen readers, which read the number. */
export function sparkline(values) {
  const max = Math.max(1, ...values);
  const step = WIDTH / (values.length - 1);
  const y = (value) => (HEIGHT - 1 - (value / max) * (HEIGHT - 2)).toFixed(1);
  const points = values.map((value, index) => `${(index * step).toFixed(1)},${y(value)}`);
  return svg(
    "svg",
    { class: "sparkline", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, "aria-hidden": "true", preserveAspectRatio: "none" },
    svg("polygon", { points: `0,${HEIGHT} ${points.join(" ")} ${WIDTH},${HEIGHT}` }),
    svg("polyline", { points: points.join(" ") }),
  );
}
