// Makes elements from plain values, and changes one tree of elements into another with few operations.
//
// Text always becomes text. No function here parses markup, so a name that contains "<script>" is displayed unchanged.

const SVG = "http://www.w3.org/2000/svg";

// These are set as properties, because a Content-Security-Policy without 'unsafe-inline' forbids attributes.
const HANDLERS = ["onclick", "oninput", "onchange", "onkeydown", "onsubmit"];
const PROPERTIES = [...HANDLERS, "value", "checked", "disabled"];

/** Return an element. `attributes` that are null or false are left out; children may be nested, null or text. */
export function h(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** Return an element of SVG. */
export function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (PROPERTIES.includes(name)) continue;
    if (value !== null && value !== undefined && value !== false) {
      element.setAttribute(name, value === true ? "" : value);
    }
  }
  append(element, children);
  // After the children, because the value of a select is one of its options.
  for (const name of PROPERTIES) {
    if (attributes[name] !== undefined && attributes[name] !== null) element[name] = attributes[name];
  }
  return element;
}

function append(element, children) {
  for (const child of children) {
    if (Array.isArray(child)) append(element, child);
    else if (child !== null && child !== undefined && child !== false) element.append(child);
  }
}

/** Make the children of an element like these. Equal nodes stay, with their focus, selection and scroll position. */
export function render(element, ...children) {
  const fresh = element.cloneNode(false);
  append(fresh, children);
  morphChildren(element, fresh);
}

/** Make an element like a fresh one, or replace it; return the element that is in the document afterwards. */
export function morph(old, fresh) {
  if (old.nodeName !== fresh.nodeName || keyOf(old) !== keyOf(fresh)) {
    old.replaceWith(fresh);
    return fresh;
  }
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return old;
  }
  morphAttributes(old, fresh);
  morphChildren(old, fresh);
  for (const name of PROPERTIES) {
    // The user may not have finished typing a number or a word.
    const isTyped = name === "value" && old === document.activeElement && old.matches("input");
    if (name in old && old[name] !== fresh[name] && !isTyped) old[name] = fresh[name];
  }
  return old;
}

/** Copy all attributes except the style, which scripts set as a property because of the Content-Security-Policy. */
function morphAttributes(old, fresh) {
  for (const { name } of [...old.attributes]) {
    if (name !== "style" && !fresh.hasAttribute(name)) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
}

function morphChildren(old, fresh) {
  const keyed = new Map();
  for (const child of old.childNodes) {
    const key = keyOf(child);
    if (key !== null) keyed.set(key, child);
  }
  let place = old.firstChild;
  for (const child of [...fresh.childNodes]) {
    const key = keyOf(child);
    const match = key === null ? unkeyed(place) : keyed.get(key);
    if (!match) {
      old.insertBefore(child, place);
      continue;
    }
    if (match === place) place = place.nextSibling;
    else old.insertBefore(match, place);
    morph(match, child);
  }
  while (place) {
    const next = place.nextSibling;
    place.remove();
    place = next;
  }
}

/** Return the node at a place, if it has no key. */
function unkeyed(place) {
  return place !== null && keyOf(place) === null ? place : null;
}

function keyOf(node) {
  return node.nodeType === Node.ELEMENT_NODE ? node.getAttribute("data-key") : null;
}
