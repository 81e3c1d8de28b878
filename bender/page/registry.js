// The registrations (by app and version), backends and frontends that the node lists, built from its events.

import { hostPort, metaText } from "./format.js";

/** An instance that went offline stays visible for this time, with the reason. */
const GONE_VISIBLE_MS = 8_000;

/** At most this many offline instances are visible: when a whole rack fails, the list is for the remaining ones. */
const GONE_MAX = 2_000;

const natural = new Intl.Collator("en", { numeric: true }).compare;

/** Compare names as people sort them: 1.9.0 is before 1.10.0. */
export function compareNames(a, b) {
  return natural(a, b) || (a < b ? -1 : Number(a > b));
}

/** One registration. `change` is its last event; `gone` is true if that was `offline`. */
class Entry {
  constructor(registration) {
    this.id = registration.id;
    this.change = null;
    this.gone = false;
    this.update(registration);
  }

  update(registration) {
    this.registration = registration;
    this.stamp = (this.stamp ?? 0) + 1;
    this.text = null;
  }

  /** Return true if each word, in lower case, is in a field of the registration or in its present status. */
  matches(words, status) {
    this.text ??= searchText(this.registration);
    return words.every((word) => this.text.includes(word) || status.includes(word));
  }
}

function searchText(registration) {
  const { id, app, version, state, node, weight, meta } = registration;
  const pairs = Object.entries(meta ?? {}).map(([key, value]) => `${key}=${metaText(value)}`);
  const named = `app:${app} version:${version} state:${state} node:${node} weight:${weight}`;
  return `${id} ${hostPort(registration)} ${named} ${pairs.join(" ")}`.toLowerCase();
}

class Version {
  #sorted = true;
  #entries = [];
  /** The number of listed instances, without those that are gone. */
  online = 0;

  constructor(app, name) {
    this.app = app;
    this.name = name;
  }

  add(entry) {
    this.#sorted &&= this.#entries.length === 0 || this.#entries.at(-1).id < entry.id;
    this.#entries.push(entry);
  }

  remove(entries) {
    this.#entries = this.#entries.filter((entry) => !entries.has(entry));
  }

  /** All entries in order of id, also those that are gone and still visible. */
  get entries() {
    if (!this.#sorted) this.#entries.sort((a, b) => (a.id < b.id ? -1 : 1));
    this.#sorted = true;
    return this.#entries;
  }
}

class App {
  constructor(name, versions) {
    this.name = name;
    this.versions = versions;
  }

  get online() {
    return this.versions.reduce((sum, version) => sum + version.online, 0);
  }
}

function byName(a, b) {
  return compareNames(a.name, b.name);
}

function sorted(versions) {
  return [...versions].sort(byName);
}

/** Dispatches `change` after each batch of events. */
export class Registry extends EventTarget {
  backends = new Map();
  frontends = new Map();
  /** Whether the list has been complete at least once. */
  synced = false;
  online = 0;
  #entries = new Map();
  #apps = new Map();
  #gone = new Set();
  // The ids in the snapshot that is being received; null if none is.
  #snapshotIds = new Set();

  /** Apply events of the node, in order. */
  apply(events) {
    for (const event of events) this.#applyEvent(event);
    if (this.#gone.size > GONE_MAX) this.#forget([...this.#gone].slice(0, this.#gone.size - GONE_MAX));
    this.dispatchEvent(new Event("change"));
  }

  /** Remove the instances that went offline more than `GONE_VISIBLE_MS` ago. */
  sweep() {
    const before = performance.now() - GONE_VISIBLE_MS;
    const old = [];
    for (const entry of this.#gone) {
      if (entry.change.seenAt > before) break; // the entries are in order of time
      old.push(entry);
    }
    if (!old.length) return;
    this.#forget(old);
    this.dispatchEvent(new Event("change"));
  }

  /** Return all apps in order of name, each with its `versions`; also apps and versions that only a backend names. */
  get apps() {
    const apps = new Map();
    for (const { name, versions } of this.#apps.values()) apps.set(name, new Map(versions));
    for (const { app, version, canary } of this.backends.values()) {
      if (!apps.has(app)) apps.set(app, new Map());
      const versions = apps.get(app);
      for (const each of [version, canary?.version]) {
        if (each && !versions.has(each)) versions.set(each, new Version(app, each));
      }
    }
    return [...apps].map(([name, versions]) => new App(name, sorted(versions.values()))).sort(byName);
  }

  /** Return the versions of an app that have instances, in order of name. */
  versions(app) {
    return sorted([...(this.#apps.get(app)?.versions.values() ?? [])].filter((version) => version.online > 0));
  }

  /** Return the entries of a version in order of id, also those that are gone and still visible. */
  entries(app, version) {
    return this.#apps.get(app)?.versions.get(version)?.entries ?? [];
  }

  get(id) {
    return this.#entries.get(id);
  }

  /** Return the backends that send to a version, as `{name, role, percent}`; the role is `version` or `canary`. */
  backendsOf(app, version) {
    const found = [];
    for (const backend of this.backends.values()) {
      if (backend.app !== app) continue;
      const share = backend.canary?.percent ?? 0;
      if (backend.version === version) found.push({ name: backend.name, role: "version", percent: 100 - share });
      else if (backend.canary?.version === version) found.push({ name: backend.name, role: "canary", percent: share });
    }
    return found.sort((a, b) => compareNames(a.name, b.name));
  }

  #applyEvent(event) {
    if (event.event === "reset") {
      this.#snapshotIds = new Set();
    } else if (event.event === "synced") {
      this.#endSnapshot();
    } else if (event.registration) {
      this.#snapshotIds?.add(event.registration.id);
      if (event.event === "offline") this.#goOffline(event);
      else this.#addOrUpdate(event);
    } else if (event.backend) {
      this.#set(this.backends, event, event.backend);
    } else if (event.frontend) {
      this.#set(this.frontends, event, event.frontend);
    }
  }

  #set(objects, event, object) {
    this.#snapshotIds?.add(object.id);
    if (event.event === "removed") objects.delete(object.name);
    else objects.set(object.name, object);
  }

  /** Remove the objects that were listed before a reset and are not in the snapshot after it. */
  #endSnapshot() {
    const ids = this.#snapshotIds;
    this.#snapshotIds = null;
    this.synced = true;
    if (ids === null) return;
    for (const objects of [this.backends, this.frontends]) {
      for (const object of objects.values()) if (!ids.has(object.id)) objects.delete(object.name);
    }
    for (const entry of this.#entries.values()) {
      if (entry.gone || ids.has(entry.id)) continue;
      this.#markGone(entry, { event: "offline", reason: "gone", at: Date.now() });
    }
  }

  #addOrUpdate(event) {
    const { registration } = event;
    let entry = this.#entries.get(registration.id);
    const isNew = entry === undefined;
    if (isNew) {
      entry = new Entry(registration);
      this.#entries.set(entry.id, entry);
      this.#version(registration).add(entry);
    } else {
      entry.update(registration);
    }
    if (isNew || entry.gone) {
      entry.gone = false;
      this.#gone.delete(entry);
      this.#countOnline(registration, 1);
    }
    if (!event.snapshot) this.#recordChange(entry, event);
  }

  #goOffline(event) {
    const entry = this.#entries.get(event.registration.id);
    if (entry && !entry.gone) this.#markGone(entry, event);
  }

  #markGone(entry, event) {
    entry.gone = true;
    this.#recordChange(entry, event);
    this.#gone.add(entry);
    this.#countOnline(entry.registration, -1);
  }

  #recordChange(entry, event) {
    entry.stamp += 1;
    entry.change = { event: event.event, reason: event.reason, at: event.at, seenAt: performance.now() };
  }

  #countOnline(registration, by) {
    this.#version(registration).online += by;
    this.online += by;
  }

  #version({ app, version }) {
    let found = this.#apps.get(app);
    if (!found) this.#apps.set(app, (found = { name: app, versions: new Map() }));
    if (!found.versions.has(version)) found.versions.set(version, new Version(app, version));
    return found.versions.get(version);
  }

  #forget(entries) {
    const byVersion = new Map();
    for (const entry of entries) {
      this.#gone.delete(entry);
      this.#entries.delete(entry.id);
      const version = this.#version(entry.registration);
      if (!byVersion.has(version)) byVersion.set(version, new Set());
      byVersion.get(version).add(entry);
    }
    for (const [version, removed] of byVersion) {
      version.remove(removed);
      if (version.entries.length) continue;
      const app = this.#apps.get(version.app);
      app.versions.delete(version.name);
      if (!app.versions.size) this.#apps.delete(app.name);
    }
  }
}
