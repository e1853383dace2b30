// How names, folders, times and scores are written.

// What acts on a line of text is written out, as are bytes that are no text.
const ACTING =
  /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]/gu;

/** A text that may be shown, of one that comes from anywhere. */
export function shown(text) {
  return String(text).replace(ACTING, (character) => {
    const code = character.codePointAt(0);
    return code >= 0xdc80 && code <= 0xdcff ? `\\x${(code - 0xdc00).toString(16)}`
      : `\\u${code.toString(16).padStart(4, "0")}`;
  });
}

const cut = (uri) => Math.max(uri.lastIndexOf("/"), uri.lastIndexOf("\\"));

/** The last part of a clip's uri. */
export const nameOf = (uri) => shown(uri.slice(cut(uri) + 1) || uri);

/** All but the last part of a clip's uri. */
export const folderOf = (uri) => shown(uri.slice(0, Math.max(0, cut(uri))));

/** Seconds as 1:02.3, or 1:02:03 from an hour on. */
export function time(seconds, digits = 1) {
  const tenth = 10 ** digits;
  const all = Math.round(Math.max(0, seconds) * tenth) / tenth;
  const minutes = Math.floor(all / 60);
  const rest = (all - 60 * minutes).toFixed(minutes >= 60 ? 0 : digits);
  const padded = rest.padStart(minutes >= 60 || !digits ? 2 : 3 + digits, "0");
  if (minutes < 60) return `${minutes}:${padded}`;
  return `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}:${padded}`;
}

/** A number with its thousands parted. */
export const count = (number) => number.toLocaleString("en").replaceAll(",", "\u202f");

/** Seconds as a person says them: 40 s, 12 min, 3.5 h. */
export function lasting(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${count(Math.round(seconds / 360) / 10)} h`;
}

/** A number of things: "1 clip", "2 clips". */
export const counted = (number, thing) => `${count(number)} ${thing}${number === 1 ? "" : "s"}`;
