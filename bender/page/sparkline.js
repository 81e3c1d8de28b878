// A line of the last values of something, without axes: its shape is what counts, the number beside it says how much.

import { svg } from "./dom.js";

const WIDTH = 96;
const HEIGHT = 20;

/** The last values of something, which is measured at equal distances. */
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

  /** Return the mean of the last values; null before there is one. */
  mean(of) {
    if (!this.#pushed) return null;
    const last = this.#values.slice(-Math.min(of, this.#pushed));
    return last.reduce((sum, value) => sum + value, 0) / last.length;
  }
}

/** Return a drawing of values, the newest at the right. It is left out for screen readers, which get the number. */
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
