// What is not in the address: values that many parts of the page read, and are told about.
import { useEffect, useState } from "./vendor.js";

/**
 * A value that can be watched.
 * @template {object} T
 * @param {T} value
 */
export function observable(value) {
  const watchers = new Set();
  return {
    get value() { return value; },
    /** @param {Partial<T>} changes */
    set(changes) {
      if (Object.keys(changes).every((name) => Object.is(value[name], changes[name]))) return;
      value = { ...value, ...changes };
      for (const watcher of [...watchers]) watcher(value);
    },
    watch(watcher) {
      watchers.add(watcher);
      return () => watchers.delete(watcher);
    },
  };
}

/**
 * What `select` takes of an observable, kept up to date; give it parts of the value, not new objects.
 */
export function useStore(store, select = (value) => value) {
  const [found, setFound] = useState(() => select(store.value));
  useEffect(() => {
    const update = () => setFound(() => select(store.value));
    update();
    return store.watch(update);
  }, [store]);
  return found;
}

/** What this browser keeps; nothing where it is told to keep nothing. */
export const saved = {
  get(name) {
    try { return localStorage.getItem(name); } catch { return null; }
  },
  set(name, text) {
    try { localStorage.setItem(name, text); } catch { /* it is not kept */ }
  },
};

/** Of the server: whether it wants a token, and whether it is not reached. */
export const server = observable({ isLocked: false, isLost: false });

/** The row of a list that is selected, for what acts on it by a key: see hits.js. */
export const selection = observable({ row: null });
