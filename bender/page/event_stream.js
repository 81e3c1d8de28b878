// Server-sent events from a response, as the HTML standard defines their format (section 9.2.6).
//
// The browser's own EventSource sends no Authorization header and tells no status, so the page reads them by `fetch`.

/** A line longer than this is not from bender, whose entries have 4 KiB. */
const LINE_CHARACTERS_MAX = 1024 * 1024;

/** Yield the events of a body in batches, one for each piece that is read: arrays of `{id, data}`. */
export async function* batches(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  const parser = new Parser();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield parser.take(value);
    }
  } finally {
    reader.cancel().catch(() => undefined);
  }
}

export class Parser {
  #rest = "";
  #id = "";
  #data = [];

  /** Return the events that are complete with this text. */
  take(text) {
    const events = [];
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop();
    if (this.#rest.length > LINE_CHARACTERS_MAX) throw new Error("a line of the events is too long");
    for (const line of lines) this.#line(line, events);
    return events;
  }

  #line(line, events) {
    if (line === "") {
      if (this.#data.length) events.push({ id: this.#id, data: this.#data.join("\n") });
      this.#data = [];
      return;
    }
    const [field, value] = split(line);
    if (field === "data") this.#data.push(value);
    else if (field === "id") this.#id = value;
  }
}

/** Return the name and value of a line. A comment has an empty name. */
function split(line) {
  const colon = line.indexOf(":");
  if (colon < 0) return [line, ""];
  return [line.slice(0, colon), line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1)];
}
