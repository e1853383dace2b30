// The address: which view it names, what is asked, and how it is changed.
import { useEffect, useState } from "./vendor.js";

const VIEWS = { "/": "ask", "/map": "map", "/library": "library", "/tray": "tray" };

// What a question is made of, with the names that the API has for it. `sound` is the digest of a file
// that this browser keeps.
export const QUESTION = ["sound", "clip", "like", "unlike", "label", "text", "classes", "names", "label_weight", "at",
  "where", "min_score", "per", "ranking", "segments", "offset"];

/**
 * @typedef {{view: string, id: number | null, path: string, params: URLSearchParams}} Address
 * @returns {Address} what an address shows; `id` is the clip's of the view "clip"
 */
export function read({ pathname, search } = location) {
  const params = new URLSearchParams(search);
  const clip = /^\/clip\/(\d{1,16})$/.exec(pathname);
  const view = clip ? "clip" : VIEWS[pathname] ?? "lost";
  return { view, id: clip && Number(clip[1]), path: pathname, params };
}

/**
 * The address with some of its values changed.
 * @param {Record<string, any>} changes a value, a list of values, or null for none
 * @param {{path?: string, from?: URLSearchParams}} options `from`: what is changed; by default what
 *   the address has now, or nothing for another path
 */
export function href(changes, { path = location.pathname, from } = {}) {
  const params = new URLSearchParams(from ?? (path === location.pathname ? location.search : ""));
  // What is shown of an answer belongs to that answer.
  if (Object.keys(changes).some((name) => QUESTION.includes(name))) ["k", "offset"].forEach((name) => params.delete(name));
  for (const [name, value] of Object.entries(changes)) {
    params.delete(name);
    for (const each of [value].flat()) {
      if (each !== null && each !== undefined && each !== "") params.append(name, each);
    }
  }
  const text = params.toString();
  return text ? `${path}?${text}` : path;
}

const watchers = new Set();
const tell = () => watchers.forEach((watcher) => watcher());
addEventListener("popstate", tell);

/** Go to the address with some of its values changed: see `href`. */
export function go(changes, { replace = false, ...options } = {}) {
  visit(href(changes, options), replace);
}

/** Go to an address of the page. */
export function visit(target, replace = false) {
  const same = target === location.pathname + location.search;
  history[replace || same ? "replaceState" : "pushState"](same || replace ? history.state : null, "", target);
  tell();
}

/** Keep something with the address that is not part of it, such as what is selected. */
export function keep(state) {
  history.replaceState({ ...history.state, ...state }, "");
}

/** What was kept with the address. */
export const kept = () => history.state ?? {};

/** The address, kept up to date. */
export function useAddress() {
  const [address, setAddress] = useState(read);
  useEffect(() => {
    const update = () => setAddress(read());
    update();
    watchers.add(update);
    return () => watchers.delete(update);
  }, []);
  return address;
}

// Links within the page load nothing anew.
addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href]");
  const isPlain = !(event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey);
  if (!link || event.defaultPrevented || !isPlain || link.target || link.hasAttribute("download")) return;
  const target = new URL(link.href);
  if (target.origin !== location.origin || /^\/(api|page)\//.test(target.pathname)) return;
  event.preventDefault();
  visit(target.pathname + target.search);
  scrollTo(0, 0);
});
