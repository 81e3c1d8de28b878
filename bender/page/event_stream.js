// Server-sent events from a response, as the HTML standard defines their format (section 9.2.6).
//
// The page reads events with `fetch`. The browser's EventSource sends no Authorization header, and does not report the
// status of a response.

/** A longer line is not from bender, because bender's entries have at most 4 KiB. */
const LINE_CHARACTERS_MAX = 1024 * 1024;

/** Yield the events of a body, `{id, data}`, as an array for each piece of the body. */
export async function* eventBatches(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  const parser = new Parser();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield parser.feed(value);
    }
  } finally {
    reader.cancel().catch(() => undefined);
  }
}

export class Parser {
  #rest = "";
  #id = "";
  #data = [];

  /** Add a text, and return the events that are complete now. */
  feed(text) {
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
    const [field, value] = fieldOf(line);
    if (field === "data") this.#data.push(value);
    else if (field === "id") this.#id = value;
  }
}

/** Return the name and value of a line. A comment has an empty name. */
function fieldOf(line) {
  const colon = line.indexOf(":");
  if (colon < 0) return [line, ""];
  return [line.slice(0, colon), line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1)];
}
