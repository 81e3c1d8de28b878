// Numbers, times and durations as people read them.

const MINUTE_S = 60;
const HOUR_S = 60 * MINUTE_S;
const DAY_S = 24 * HOUR_S;

/** A space without a line break. */
const NBSP = "\u00a0";

const grouped = new Intl.NumberFormat("en");

/** Return a whole number with commas, as in 12,000. */
export function number(value) {
  return grouped.format(value);
}

/** Return a number and a noun: "1 instance", "12 instances". */
export function count(value, singular, plural = `${singular}s`) {
  return `${number(value)} ${value === 1 ? singular : plural}`;
}

/** Return a duration in seconds in its largest unit: "0.4 s", "12 s", "5 min", "3 h", "2 d", without a line break. */
export function duration(seconds) {
  if (seconds < 9.95) return `${Math.max(0, seconds).toFixed(1)}${NBSP}s`;
  if (seconds < 2 * MINUTE_S) return `${Math.round(seconds)}${NBSP}s`;
  if (seconds < 2 * HOUR_S) return `${Math.round(seconds / MINUTE_S)}${NBSP}min`;
  if (seconds < 2 * DAY_S) return `${Math.round(seconds / HOUR_S)}${NBSP}h`;
  return `${Math.round(seconds / DAY_S)}${NBSP}d`;
}

/** Return how long ago a time was, in ms since the epoch. A time in the future counts as now, as clocks may differ. */
export function ago(atMs, nowMs = Date.now()) {
  const seconds = Math.max(0, (nowMs - atMs) / 1000);
  return seconds < 1 ? "now" : `${duration(Math.floor(seconds)).replace(".0", "")} ago`;
}

/** Return the local time of day of a time in ms since the epoch; with milliseconds if `millis` is true. */
export function clock(atMs, { millis = false } = {}) {
  const at = new Date(atMs);
  const two = (value, digits = 2) => String(value).padStart(digits, "0");
  const text = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  return millis ? `${text}.${two(at.getMilliseconds(), 3)}` : text;
}

/** Return the local time of day, with the date if the time is more than a day away. */
export function moment(atMs, options = {}) {
  return Math.abs(Date.now() - atMs) < DAY_S * 1000 ? clock(atMs, options) : dateTime(atMs);
}

/** Return the local date and time of a time in ms since the epoch. */
export function dateTime(atMs) {
  const at = new Date(atMs);
  const two = (value) => String(value).padStart(2, "0");
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${clock(atMs)}`;
}

/** Return a share as a percentage: "10 %", "9.8 %". */
export function percent(value) {
  return `${Number(value.toFixed(value < 10 ? 1 : 0))}${NBSP}%`;
}

/** Return a rate per second: "0", "0.4", "12", "1,200". */
export function rate(value) {
  return value < 9.95 ? String(Number(value.toFixed(1))) : number(Math.round(value));
}

/** Join names with commas and "and". */
export function list(names) {
  return names.length < 2 ? (names[0] ?? "") : `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
}

/** Return the host and port of a registration as one text, an IPv6 address in brackets. */
export function hostPort({ host, port }) {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Return a value of `meta` as text: a string unchanged, everything else as JSON. */
export function metaText(value) {
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** Return a value of a setting as text: a list with commas, an object as its keys and values. */
export function settingText(value) {
  if (value === null || value === undefined) return "none";
  if (Array.isArray(value)) return value.map(settingText).join(", ");
  if (typeof value !== "object") return String(value);
  return Object.entries(value)
    .map(([key, each]) => `${key} ${settingText(each)}`)
    .join(" ");
}
