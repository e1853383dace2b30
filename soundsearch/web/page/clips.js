// Facts of single clips, each asked for once.
import { useEffect, useState } from "./vendor.js";
import { api } from "./api.js";

const KEPT = 200;
/** @type {Map<string, Promise<any>>} */
const known = new Map();

/** The API's facts of a clip, by its id. */
export function clipOf(id) {
  const key = String(id);
  if (!known.has(key)) {
    const found = api.get(`/clips/${key}`);
    found.catch(() => known.delete(key));
    known.set(key, found);
    if (known.size > KEPT) known.delete(known.keys().next().value);
  }
  return known.get(key);
}

/** Forget a clip, which was changed. */
export const forgetClip = (id) => known.delete(String(id));

/** The facts of a clip by its id; null until they are there, and where there is no such clip. */
export function useClip(id) {
  const [clip, setClip] = useState(null);
  const isId = id !== null && /^\d+$/.test(id);
  useEffect(() => {
    let isHere = true;
    setClip(null);
    if (isId) clipOf(id).then((found) => isHere && setClip(found), () => {});
    return () => { isHere = false; };
  }, [id]);
  return clip;
}
