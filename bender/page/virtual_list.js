// A list of any length. Only its visible rows are elements of the document.
//
// All rows have the same height (`--row-height`), so the position of a row follows from its index. The list itself has
// the focus, and `aria-activedescendant` names the active row, because scrolling may remove a row from the document.

import { morph } from "./dom.js";

/** The number of rows beyond each edge that are elements already, for scrolling. */
const OVERSCAN = 8;

/** Browsers scroll about this far. The rest of a longer list can only be found by a search. */
const HEIGHT_MAX_PX = 15_000_000;

export class VirtualList {
  rows = [];
  active = -1;
  #viewport;
  #canvas;
  #make;
  #owner;
  #elements = new Map();
  #rowHeight = 32;
  #activeKey = null;
  #frame = null;
  #scrollTop = 0;

  /**
   * `viewport` is the element that scrolls. Rows are objects with a `key`, which is unique in the list, and a `stamp`.
   * `make(row, index)` returns the element of a row. It is called again if the stamp or the index of the row changes.
   * `owner` is the element that gets the focus.
   */
  constructor(viewport, make, owner = viewport) {
    this.#viewport = viewport;
    this.#make = make;
    this.#owner = owner;
    this.#canvas = document.createElement("div");
    this.#canvas.className = "canvas";
    this.#canvas.setAttribute("role", "presentation");
    viewport.append(this.#canvas);
    if (owner !== viewport) viewport.tabIndex = -1; // else browsers make a scrolling element a stop for the Tab key
    viewport.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    new ResizeObserver(() => this.#resized()).observe(viewport);
  }

  /** Show these rows. The active row stays active; in a scrolled list, the first visible row stays in its place. */
  show(rows) {
    const first = this.first;
    const kept = first > 0 ? this.rows[first]?.key : undefined;
    this.rows = rows;
    if (kept !== undefined && rows[first]?.key !== kept) {
      const index = rows.findIndex((row) => row.key === kept);
      this.#fit();
      if (index >= 0) this.#viewport.scrollTop += (index - first) * this.#rowHeight;
    }
    if (this.#activeKey !== null && rows[this.active]?.key !== this.#activeKey) {
      const index = rows.findIndex((row) => row.key === this.#activeKey);
      this.active = index < 0 ? Math.min(this.active, rows.length - 1) : index;
      this.#activeKey = rows[this.active]?.key ?? null;
    }
    this.draw();
  }

  /** Draw the visible rows with the next frame. */
  draw() {
    this.#frame ??= requestAnimationFrame(() => {
      this.#frame = null;
      this.#draw();
    });
  }

  /** The index of the first visible row. */
  get first() {
    return Math.floor(this.#viewport.scrollTop / this.#rowHeight);
  }

  /** The visible rows. */
  get visible() {
    const count = Math.ceil(this.#viewport.clientHeight / this.#rowHeight) + 1;
    return this.rows.slice(this.first, this.first + count);
  }

  /** Restore the scroll position, which an element loses when it is removed from the document. */
  restore() {
    this.#resized();
    this.#fit();
    this.#viewport.scrollTop = this.#scrollTop;
  }

  /** Make the row at an index the active one, and scroll to it. */
  activate(index, { center = false } = {}) {
    this.active = Math.max(0, Math.min(index, this.rows.length - 1));
    this.#activeKey = this.rows[this.active]?.key ?? null;
    this.#fit();
    const top = this.active * this.#rowHeight;
    const height = this.#viewport.clientHeight;
    if (center) this.#viewport.scrollTop = top - height / 2;
    else if (top < this.#viewport.scrollTop) this.#viewport.scrollTop = top;
    else if (top + this.#rowHeight > this.#viewport.scrollTop + height) {
      this.#viewport.scrollTop = top + this.#rowHeight - height;
    }
    this.#draw();
  }

  /** Make no row active. */
  deactivate() {
    this.active = -1;
    this.#activeKey = null;
  }

  /** Move the active row by a key; return true if the key moves it. */
  move(key) {
    const page = Math.max(1, Math.floor(this.#viewport.clientHeight / this.#rowHeight) - 1);
    const last = this.rows.length - 1;
    const to = {
      ArrowDown: this.active + 1,
      ArrowUp: Math.max(0, this.active - 1),
      PageDown: this.active + page,
      PageUp: this.active - page,
      Home: 0,
      End: last,
    }[key];
    if (to === undefined || last < 0) return false;
    this.activate(to);
    return true;
  }

  #scrolled() {
    if (this.#viewport.isConnected) this.#scrollTop = this.#viewport.scrollTop;
    this.draw();
  }

  #resized() {
    const height = parseFloat(getComputedStyle(this.#viewport).getPropertyValue("--row-height"));
    if (height > 0) this.#rowHeight = height;
    this.draw();
  }

  /** Give the canvas the height of all rows, which limits scrolling. */
  #fit() {
    this.#canvas.style.height = `${Math.min(this.rows.length * this.#rowHeight, HEIGHT_MAX_PX)}px`;
  }

  #draw() {
    this.#fit();
    const first = Math.max(0, this.first - OVERSCAN);
    const count = Math.ceil(this.#viewport.clientHeight / this.#rowHeight) + 2 * OVERSCAN;
    const drawnKeys = new Set();
    let previous = null;
    for (let index = first; index < Math.min(first + count, this.rows.length); index += 1) {
      const row = this.rows[index];
      drawnKeys.add(row.key);
      const element = this.#element(row, index);
      // Screen readers read the rows in their order in the document, so it must be the order of the list.
      if (previous ? previous.nextSibling !== element : this.#canvas.firstChild !== element) {
        this.#canvas.insertBefore(element, previous ? previous.nextSibling : this.#canvas.firstChild);
      }
      previous = element;
    }
    for (const [key, drawn] of this.#elements) {
      if (drawnKeys.has(key)) continue;
      drawn.element.remove();
      this.#elements.delete(key);
    }
    this.#markActive();
  }

  #element(row, index) {
    const drawn = this.#elements.get(row.key);
    const mark = `${row.stamp} ${index} ${index === this.active} ${this.#rowHeight}`;
    if (drawn?.mark === mark) return drawn.element;
    const fresh = this.#make(row, index);
    fresh.id = `${this.#viewport.id}-${index}`;
    fresh.classList.toggle("active", index === this.active);
    const element = drawn ? morph(drawn.element, fresh) : fresh;
    element.style.transform = `translateY(${index * this.#rowHeight}px)`;
    this.#elements.set(row.key, { element, mark });
    return element;
  }

  #markActive() {
    const key = this.rows[this.active]?.key;
    if (key !== undefined && this.#elements.has(key)) {
      this.#owner.setAttribute("aria-activedescendant", `${this.#viewport.id}-${this.active}`);
    } else {
      this.#owner.removeAttribute("aria-activedescendant");
    }
  }
}
