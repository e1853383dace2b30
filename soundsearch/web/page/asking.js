// What is done with what a person gives: a file, a label, words or a clip becomes the address.
import { QUESTION, go, read } from "./address.js";
import { ApiError } from "./api.js";
import { say } from "./notice.js";
import { askAgain } from "./question.js";
import { observable } from "./store.js";
import { keepSound } from "./uploads.js";

// What of a question stays when another is asked: how clips are chosen and listed.
const STAYS = ["where", "per", "ranking", "segments"];
// What words or labels beside a sound take the place of.
const SAID = ["text", "label", "classes", "names", "label_weight"];

/** What goes wrong before anything is asked, and whether a file is being read. */
export const asking = observable({ problem: "", isReading: false });

/**
 * Ask something else.
 * @param {Record<string, any>} changes
 * @param {{isBeside?: boolean}} options whether the sound or clip that is asked with stays
 */
export function ask(changes, { isBeside = false } = {}) {
  const { view, params } = read();
  const from = view === "ask" ? params : new URLSearchParams();
  const gone = isBeside ? SAID : QUESTION.filter((name) => !STAYS.includes(name));
  const none = Object.fromEntries(["all", ...gone].map((name) => [name, null]));
  // By the company that a clip keeps only sounds can be asked.
  if ((changes.text || changes.label) && from.get("ranking") === "related") none.ranking = null;
  asking.set({ problem: "" });
  go({ ...none, ...changes }, { path: "/", from });
  askAgain();
}

/** Ask with the first of some files. */
export async function askWith(files) {
  const [file, ...others] = files;
  if (!file) return;
  asking.set({ problem: "", isReading: true });
  try {
    const sound = await keepSound(file);
    ask({ sound });
    if (others.length) say(`One sound at a time: this is the first of ${files.length} files.`);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    asking.set({ problem: error.message });
  } finally {
    asking.set({ isReading: false });
  }
}
