// One player: a moment of a clip, or all of it.
import { useEffect, useRef, useState } from "./vendor.js";
import { ApiError, blob, request, url } from "./api.js";
import { observable } from "./store.js";

/**
 * What is played. `clip` is what was given; `start` and `end` are of its moment, seconds, `end` null for
 * its end; `state` is idle, loading, playing, paused or failed, with a `message`.
 */
export const player = observable({ clip: null, start: 0, end: null, state: "idle", message: "" });

const audio = new Audio();
// Moments that are kept as files: the latest, this many.
const KEPT = 40;
// A longer moment is not fetched as a file but played from the whole, seconds.
const LONGEST = 30;
/** @type {Map<string, {stop: AbortController, blob: Promise<Blob>, isThere: boolean}>} */
const moments = new Map();
let turn = 0, base = 0, source = null, ahead = [];

// Browsers play nothing before the first click or key.
let isTouched = false;
for (const kind of ["pointerdown", "keydown"]) {
  addEventListener(kind, () => { isTouched = true; }, { once: true, capture: true });
}

/** Whether something may be played that nobody clicked. */
export const mayPlay = () => isTouched;

const idOf = (clip) => clip.clip_id ?? clip.id;
const fixed = (seconds) => Number(seconds.toFixed(3));
const isShort = ({ start, end }) => end !== null && end !== undefined && end - start <= LONGEST;
const keyOf = (clip, { start, end }) => `${idOf(clip)} ${fixed(start)}-${fixed(end)}`;

/** A moment as a WAV file, from the server or kept. */
function moment(clip, span) {
  const key = keyOf(clip, span);
  let found = moments.get(key);
  if (!found) {
    const stop = new AbortController();
    const at = `${fixed(span.start)}-${fixed(span.end)}`;
    found = { stop, blob: blob("GET", `/clips/${idOf(clip)}/audio`, { params: { at }, signal: stop.signal }), isThere: false };
    found.blob.then(() => { found.isThere = true; }, () => moments.delete(key));
  }
  moments.delete(key);
  moments.set(key, found);
  for (const [old, { isThere }] of moments) {
    if (moments.size <= KEPT) break;
    if (isThere) moments.delete(old);
  }
  return found.blob;
}

/**
 * Fetch ahead what is likely to be played next; what was fetched ahead before and is not wanted any
 * more is given up.
 * @param {{clip_id?: number, id?: number, start: number, end: number}[]} rows
 */
export function prefetch(rows) {
  const wanted = rows.filter(isShort);
  const keys = new Set(wanted.map((row) => keyOf(row, row)));
  const { clip, start, end } = player.value;
  if (clip && !clip.url && end !== null) keys.add(keyOf(clip, { start, end }));
  for (const [key, { stop, isThere }] of moments) if (!isThere && !keys.has(key)) stop.abort();
  ahead = wanted;
  (async () => {
    // One after the other: a server has few processes that decode.
    for (const row of wanted) {
      if (ahead !== wanted) return;
      await moment(row, row).catch(() => {});
    }
  })();
}

/**
 * Play a clip of the library (by `clip_id` or `id`) or what is at `url`.
 * @param {{clip_id?: number, id?: number, uri?: string, url?: string}} clip
 * @param {{start?: number, end?: number | null}} span seconds; without an end to the clip's end
 */
export async function play(clip, { start = 0, end = null } = {}) {
  const mine = ++turn;
  audio.pause();
  player.set({ clip, start, end, state: "loading", message: "" });
  if (source) URL.revokeObjectURL(source);
  source = null;
  try {
    if (!clip.url && isShort({ start, end })) {
      const file = await moment(clip, { start, end });
      if (mine !== turn) return;
      source = URL.createObjectURL(file);
      base = start;
      audio.src = source;
    } else {
      base = 0;
      audio.src = clip.url ?? url(`/clips/${idOf(clip)}/audio`);
      if (start) audio.currentTime = start;
    }
    await audio.play();
  } catch (error) {
    if (mine === turn && error.name !== "AbortError") await fail(error, mine);
  }
}

/** Say why a clip is not played: an element of audio does not know what the server said. */
async function fail(error, mine) {
  let why = error;
  const { clip } = player.value;
  if (!(error instanceof ApiError) && error.name !== "NotAllowedError" && clip && !clip.url) {
    const stop = new AbortController();
    why = await request("GET", `/clips/${idOf(clip)}/audio`, { signal: stop.signal })
      .then(() => { stop.abort(); return error; }, (found) => found);
  }
  const message = why instanceof ApiError ? why.message
    : why.name === "NotAllowedError" ? "the browser wants a click first"
      : "the browser cannot play it";
  if (mine === turn) player.set({ state: "failed", message });
}

/** Stop, and forget what was played. */
export function stop() {
  turn += 1;
  audio.pause();
  player.set({ clip: null, state: "idle", message: "" });
}

/** Pause, or go on; what is still fetched is given up. */
export function toggle() {
  const { clip, start, end, state } = player.value;
  if (state === "playing") audio.pause();
  else if (state === "loading") stop();
  else if (state === "paused" && !audio.ended) audio.play().catch((error) => fail(error, turn));
  else if (clip) play(clip, { start, end });
}

/** Go to a second of the clip. */
export function seek(seconds) {
  audio.currentTime = Math.max(0, seconds - base);
}

/** The second of the clip that is played. */
export const position = () => base + audio.currentTime;

/** The last second of what is played, as far as it is known. */
export const ending = () => player.value.end ?? base + (audio.duration || 0);

audio.addEventListener("playing", () => player.set({ state: "playing" }));
audio.addEventListener("pause", () => {
  if (player.value.state === "playing") player.set({ state: "paused" });
});
audio.addEventListener("ended", () => player.set({ state: "paused" }));
audio.addEventListener("error", () => {
  // While it plays; before that, play() says it.
  if (["playing", "paused"].includes(player.value.state)) fail(new Error("broken"), turn);
});
audio.addEventListener("timeupdate", () => {
  const { end, state } = player.value;
  if (state === "playing" && !source && end !== null && position() >= end) audio.pause();
});

/** The second that is played of a clip (null while it is another that plays), as frames are drawn. */
export function usePosition(isMine = () => true) {
  const mine = useRef();
  mine.current = isMine;
  const now = () => (player.value.clip && mine.current(player.value) ? position() : null);
  const [at, setAt] = useState(now);
  useEffect(() => {
    let frame = 0;
    const draw = () => {
      setAt(now());
      frame = player.value.state === "playing" && mine.current(player.value) ? requestAnimationFrame(draw) : 0;
    };
    const begin = () => { if (!frame) draw(); };
    begin();
    const unwatch = player.watch(begin);
    return () => { unwatch(); cancelAnimationFrame(frame); };
  }, []);
  return at;
}
