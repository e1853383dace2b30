// What is heard in a recording, and what people say of it: sent to the server, and taken back.
import { useEffect, useState } from "./vendor.js";
import { api } from "./api.js";
import { forget } from "./question.js";

/**
 * @typedef {{key: string, label: {name: string, mid: string, score: number, path: string[]},
 *   onset: number, offset: number, by: "head" | "people" | "no"}} Item
 *   an event, or what people say is none ("no")
 * @typedef {{label: string, at: [number, number] | null, heard: "yes" | "no" | "unsaid"}} Change
 *   `at`: null for the recording as a whole
 */

/** How the API names a label. */
export const idOf = (label) => label.mid || label.name;

/** Events and what is none, by their time. @returns {Item[]} */
export function itemsOf({ events, said }) {
  const none = said.filter(({ heard, onset }) => !heard && onset !== null)
    .map((each) => ({ ...each, by: "no" }));
  return [...events, ...none]
    .map((each) => ({ ...each, key: `${each.label.name} ${each.onset}-${each.offset} ${each.by === "no"}` }))
    .sort((a, b) => a.onset - b.onset || a.offset - b.offset);
}

/** What is to be said for an item to be gone. @returns {Change} */
export function without(item) {
  const heard = item.by === "head" ? "no" : "unsaid";
  return { label: idOf(item.label), at: [item.onset, item.offset], heard };
}

/** What is to be said for an item to have another label or time. @returns {Change[]} */
export function instead(item, label, at) {
  const isSame = idOf(item.label) === label || item.label.name.toLowerCase() === label.toLowerCase();
  const isThere = isSame && at[0] < item.offset && at[1] > item.onset;
  const isUntouched = isSame && at[0] === item.onset && at[1] === item.offset;
  const changes = [{ label, at, heard: "yes" }];
  // What was predicted gives way to what is said of the same label and time.
  if (!isUntouched && !(item.by === "head" && isThere)) changes.push(without(item));
  return changes;
}

// What undoes what was said, by recording, for as long as the page is open.
/** @type {Map<number, Change[][]>} */
const pasts = new Map();

/** The change that makes something as it was. */
function inverse({ said }, { label, at }) {
  const known = said.find((each) => idOf(each.label) === label || each.label.name.toLowerCase() === label.toLowerCase()
    ? (at === null ? each.onset === null : each.onset === at[0] && each.offset === at[1]) : false);
  return { label, at, heard: known ? (known.heard ? "yes" : "no") : "unsaid" };
}

/** The events of a recording, with what corrects them. */
export function useCorrections(id) {
  const [found, setFound] = useState({ data: null, error: null, isBusy: false });
  const set = (changes) => setFound((now) => ({ ...now, ...changes }));
  useEffect(() => {
    const stop = new AbortController();
    setFound({ data: null, error: null, isBusy: false });
    api.get(`/clips/${id}/events`, {}, { signal: stop.signal }).then(
      (data) => set({ data }),
      (error) => { if (!stop.signal.aborted) set({ error }); },
    );
    return () => stop.abort();
  }, [id]);

  const send = async (changes, isUndo) => {
    if (found.isBusy) return false;
    set({ isBusy: true, error: null });
    let { data } = found;
    const done = [];
    try {
      for (const change of changes) {
        const back = inverse(data, change);
        const at = change.at && `${change.at[0]}-${change.at[1]}`;
        const body = { label: change.label, heard: change.heard, ...(at ? { at } : {}) };
        data = await api.post(`/clips/${id}/labels`, body);
        done.unshift(back);
      }
      return true;
    } catch (error) {
      set({ error });
      return false;
    } finally {
      const past = pasts.get(id) ?? [];
      if (isUndo) past.pop();
      else if (done.length) past.push(done);
      pasts.set(id, past);
      forget(); // answers show labels
      set({ data, isBusy: false });
    }
  };
  return {
    ...found,
    /** Say something; gives whether all of it was kept. @param {Change[]} changes */
    say: (changes) => send(changes, false),
    undo: () => (pasts.get(id)?.length ? send(pasts.get(id).at(-1), true) : Promise.resolve(false)),
    canUndo: Boolean(pasts.get(id)?.length),
  };
}
