// The map of a selection: asked for until it is made, and kept.
import { useEffect, useState } from "./vendor.js";
import { request } from "./api.js";
import { readClips, unpacked } from "./columns.js";

/**
 * @typedef {ReturnType<typeof readClips> & {key: string, tag: string, places: Float32Array,
 *   ids: Float64Array, pointOf: (id: number) => number, total: number, method: string,
 *   warning: string | null, colours: {light: string[], dark: string[]}}} ClipMap
 *   Clips by their numbers on the map: `pointOf` gives that of an id, -1 for none.
 */

// After so long a map may be of an older library; milliseconds.
const FRESH = 60_000;
/** @type {{map: ClipMap | null, since: number}} */
const last = { map: null, since: 0 };

/** @returns {ClipMap} */
function made(data, key, tag) {
  const ids = unpacked(data.ids, Float64Array);
  const points = new Map(Array.from(ids, (id, point) => [id, point]));
  const { total, method, warning, colours } = data;
  return {
    ...readClips(data), key, tag, ids, total, method, warning, colours,
    places: unpacked(data.places, Float32Array),
    pointOf: (id) => points.get(Number(id)) ?? -1,
  };
}

/** Ask until the map is there; `onStep` is told how far it is. */
async function load(where, method, key, signal, onStep) {
  const take = async (response) => {
    const tag = response.status === 202 ? null : response.headers.get("etag") ?? "";
    const isKnown = last.map?.key === key && last.map.tag === tag;
    if (isKnown) response.body?.cancel();
    return { tag, isKnown, told: isKnown ? null : await response.json() };
  };
  for (;;) {
    const { tag, isKnown, told } = await request("GET", "/map", { params: { where, method }, signal, take });
    if (tag !== null) {
      if (!isKnown) last.map = made(told, key, tag);
      last.since = Date.now();
      return last.map;
    }
    onStep(told);
    await new Promise((resolve) => { setTimeout(resolve, 100); });
  }
}

/**
 * The map of what `where` selects; one that is there is shown while another is made.
 * @param {string | null} where
 * @param {string | null} method
 * @returns {{map: ClipMap | null, step: {step: string, share: number} | null,
 *   error: import("./api.js").ApiError | null}}
 */
export function useMap(where, method) {
  const key = JSON.stringify([where, method]);
  const there = () => (last.map?.key === key ? last.map : null);
  const [state, setState] = useState(() => ({ map: there(), step: null, error: null }));
  useEffect(() => {
    let stop = new AbortController();
    const begin = () => {
      stop.abort();
      stop = new AbortController();
      const { signal } = stop;
      setState({ map: there(), step: { step: "asking", share: 0 }, error: null });
      load(where, method, key, signal, (step) => {
        if (!signal.aborted) setState((now) => ({ ...now, step }));
      }).then(
        (map) => { if (!signal.aborted) setState({ map, step: null, error: null }); },
        (error) => { if (!signal.aborted) setState({ map: there(), step: null, error }); },
      );
    };
    const look = () => {
      if (document.visibilityState === "visible" && Date.now() - last.since > FRESH) begin();
    };
    begin();
    document.addEventListener("visibilitychange", look);
    return () => { stop.abort(); document.removeEventListener("visibilitychange", look); };
  }, [key]);
  return state;
}

/** A clip of the map as a row of a list. @param {ClipMap} map */
export function rowOf(map, point) {
  const duration = map.durations[point];
  const given = map.givenOf(point).map((name) => ({ name }));
  return {
    clip_id: map.ids[point], uri: map.uriOf(point), start: 0, end: duration, duration,
    labels: map.predictedOf(point).map(([name, score]) => ({ name, score })),
    ...(given.length && { human_labels: given }), tags: Object.fromEntries(map.tagsOf(point)),
  };
}
