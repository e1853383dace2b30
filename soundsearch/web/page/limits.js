// How limits of an answer are written: of groups, durations, days and folders.
import { nameOf } from "./names.js";

/**
 * What `per` of the API limits.
 * @param {string | null} text
 * @returns {{folder: number, isDistinct: boolean, rest: string}} `rest`: what no control shows
 */
export function readPer(text) {
  const found = { folder: 0, isDistinct: false, rest: "" };
  const rest = [];
  for (const part of (text ?? "").split(/,\s*(?=folder:|content:|tag\[)/)) {
    const count = /^folder:(\d{1,6})$/.exec(part);
    if (count && !found.folder) found.folder = Number(count[1]);
    else if (part === "content:1") found.isDistinct = true;
    else if (part) rest.push(part);
  }
  return { ...found, rest: rest.join(", ") };
}

/** The same as the API takes it; null for none. */
export function writePer({ folder, isDistinct, rest }) {
  const parts = [folder && `folder:${folder}`, isDistinct && "content:1", rest];
  return parts.filter(Boolean).join(", ") || null;
}

const DAY = 86_400_000;
const shifted = (day, days) => {
  const moment = Date.parse(`${day}T00:00Z`) + days * DAY;
  const found = Number.isFinite(moment) ? new Date(moment).toISOString().slice(0, 10) : day;
  return /^\d{4}-/.test(found) && found >= "0001" ? found : day;
};

/** The day before another, as 2024-05-31. */
export const dayBefore = (day) => shifted(day, -1);
export const dayAfter = (day) => shifted(day, 1);

/** From (included) to (not included) as seconds are said. */
export function secondsOf([from, to]) {
  if (from === null) return `< ${to} s`;
  return to === null ? `≥ ${from} s` : `${from}–${to} s`;
}

/** From (included) to (not included) as days are said. */
export function daysOf([from, to]) {
  if (from === null) return `until ${dayBefore(to)}`;
  return to === null ? `from ${from}` : `${from} – ${dayBefore(to)}`;
}

/** The name of a folder or an archive, by the pattern of its uris. */
export const folderName = (pattern) => nameOf(pattern.replace(/^%::|\/%$/g, ""));
