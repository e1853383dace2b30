// What the address asks, and the answer to it.
import { useLayoutEffect, useState } from "./vendor.js";
import { QUESTION, read } from "./address.js";
import { ApiError, api } from "./api.js";
import { observable, useStore } from "./store.js";
import { soundOf } from "./uploads.js";

/** Rows that are asked for at once, and at most in all. */
export const PAGE = 50;
export const MOST = 1000;

const ASKED = ["sound", "clip", "like", "label", "text"];

/**
 * @typedef {{clip_id: number, uri: string, start: number, end: number, duration?: number, rank?: number,
 *   score?: number, labels: any[], human_labels?: any[], tags?: Record<string, any>, warning?: string}} Row
 * @typedef {{state: "idle" | "loading" | "done" | "failed", kind: "question" | "list", key: string,
 *   rows: Row[], labels: any[], words: any, warning: string | null, total: number | null,
 *   isMore: boolean, error: ApiError | null, sent: number | null}} Answer
 *   `key`: what the rows answer; `sent`: the part of an upload that was sent
 */
const NOTHING = { state: "idle", kind: "list", key: "", rows: [], labels: [], words: null, warning: null,
  total: null, isMore: false, error: null, sent: null };

/** What tells a row from all others of its list. */
export const keyOf = (row) => `${row.clip_id} ${row.start}`;

/** A clip of the library as a row: its moment is all of it. */
export const rowOf = ({ id, ...clip }) => ({ clip_id: id, start: 0, end: clip.duration, ...clip });

/** The values of a question in an address. */
export function questionOf(params) {
  return new URLSearchParams([...params].filter(([name]) => QUESTION.includes(name)));
}

/** Whether an address asks for something; with a filter alone, clips are listed. */
export const isQuestion = (params) => ASKED.some((name) => params.has(name));

/** What gives rows the label that alone was asked for, which need not be among their first. */
function labelled(params) {
  const [name, ...others] = params.getAll("label");
  if (!name || others.length || ["sound", "clip", "like"].some((each) => params.has(each))) return (row) => row;
  const isIt = (label) => label.name.toLowerCase() === name.toLowerCase();
  return (row) => ({ ...row, labels: [
    row.labels.find(isIt) ?? { name, score: row.score, path: [name] }, ...row.labels.filter((each) => !isIt(each))] });
}

async function asked(params, offset, k, signal, onProgress) {
  const form = new FormData();
  for (const [name, value] of params) if (!["sound", "offset"].includes(name)) form.append(name, value);
  form.append("k", k);
  if (offset) form.append("offset", offset);
  const digest = params.get("sound");
  if (digest) {
    form.append("peaks", 1200);
    form.append("sound", await soundOf(digest));
  }
  const { hits, ...rest } = await api.post("/query", form, { signal, onProgress: digest && onProgress });
  return { kind: "question", rows: hits.map(labelled(params)), total: null, words: null, ...rest, isMore: hits.length === k };
}

async function listed(params, offset, limit, signal) {
  const where = params.get("where");
  const { clips, total } = await api.get("/clips", { where, offset, limit }, { signal });
  const isMore = offset + clips.length < total;
  return { kind: "list", rows: clips.map(rowOf), labels: [], words: null, warning: null, total, isMore };
}

// Answers that are kept, so that back and forward show them at once.
const KEPT = 20;
/** @type {Map<string, Answer>} */
const known = new Map();

function remember(answer) {
  known.delete(answer.key);
  known.set(answer.key, answer);
  if (known.size > KEPT) known.delete(known.keys().next().value);
}

/** Forget all answers, as those of a library that was changed. */
export const forget = () => known.clear();

/** How often something was asked that the address may have asked already. */
export const tries = observable({ count: 0 });

/** Ask what the address asks, even if the answer is known: the library may have changed. */
export function askAgain() {
  known.delete(questionOf(read().params).toString());
  tries.set({ count: tries.value.count + 1 });
}

/** The answer to what the address asks. @returns {Answer} */
export function useAnswer(address) {
  const [answer, setAnswer] = useState(NOTHING);
  const params = questionOf(address.params);
  const key = params.toString();
  const tried = useStore(tries).count;
  const count = Math.min(MOST, Math.max(1, Math.trunc(Number(address.params.get("k"))) || PAGE));
  useLayoutEffect(() => { // what is not yet answered is never shown as if it were
    if (!key && !address.params.has("all")) {
      setAnswer(NOTHING);
      return undefined;
    }
    const found = known.get(key);
    const rows = found?.rows ?? [];
    if (found && (rows.length >= count || !found.isMore)) {
      remember(found);
      setAnswer(found);
      return undefined;
    }
    const stop = new AbortController();
    setAnswer((before) => ({ ...(found ?? before), state: "loading", error: null, sent: null }));
    const onProgress = (sent, all) => setAnswer((now) => ({ ...now, sent: all ? sent / all : null }));
    const ask = isQuestion(params) ? asked : listed;
    const first = Math.max(0, Math.trunc(Number(params.get("offset"))) || 0);
    const part = (offset, k) => ask(params, offset, k, stop.signal, onProgress);
    const there = new Set(rows.map(keyOf));
    part(first + rows.length, count - rows.length).then((more) => {
      // Where the library has changed, and nearer ones made some come once more, all are asked for.
      if (more.rows.some((row) => there.has(keyOf(row)))) return part(first, count);
      return { ...more, rows: [...rows, ...more.rows] };
    }).then((all) => {
      const made = { ...NOTHING, ...all, state: "done", key };
      remember(made);
      setAnswer(made);
    }, (error) => {
      if (stop.signal.aborted) return;
      const told = error instanceof ApiError ? error : new ApiError(0, "Fault", String(error?.message ?? error));
      setAnswer({ ...NOTHING, state: "failed", key, error: told });
    });
    return () => stop.abort();
  }, [key, count, tried, address.params.has("all")]);
  return answer;
}
