// What leaves the page: files that are saved, what is dragged out, paths that are copied.
import { blob, url } from "./api.js";
import { nameOf } from "./names.js";
import { say } from "./notice.js";

const TYPE = "application/x-soundsearch-row";

const fixed = (seconds) => Number(seconds.toFixed(3));
const isWhole = ({ start, end, duration }) => start === 0 && (end === duration || end <= 0);

/** The moment of a row as the API takes it. */
export const atOf = (row) => (isWhole(row) ? "0-" : `${fixed(row.start)}-${fixed(row.end)}`);

/** The address of the sound of a row's moment, as WAV. */
export const soundUrl = (row) => url(`/clips/${row.clip_id}/audio`, { at: atOf(row) });

/** What a file with the moment of a row is called. */
export function fileName(row) {
  const stem = nameOf(row.uri).replace(/\.\w{1,5}$/, "").replace(/[<>:"/\\|?*]/g, "_").replace(/^[. ]+/, "").slice(0, 100);
  const moment = isWhole(row) ? "" : ` ${row.start.toFixed(2)}-${row.end.toFixed(2)}`;
  return `${stem || "sound"}${moment}.wav`;
}

/** Give what is dragged the row: for the desktop a file (in Chromium), for others its address. */
export function dragRow(event, row) {
  const address = new URL(soundUrl(row), location.href).href;
  event.dataTransfer.effectAllowed = "copyMove";
  event.dataTransfer.setData("DownloadURL", `audio/wav:${fileName(row)}:${address}`);
  event.dataTransfer.setData("text/uri-list", address);
  event.dataTransfer.setData("text/plain", row.uri);
  event.dataTransfer.setData(TYPE, `${row.clip_id} ${row.start}`);
}

/** Whether a row of this page is dragged. */
export const isRowDragged = (event) => event.dataTransfer.types.includes(TYPE);

/** The key of the row that was dropped: see `keyOf` of question.js. */
export const droppedRow = (event) => event.dataTransfer.getData(TYPE);

function download(href, name) {
  const link = document.createElement("a");
  Object.assign(link, { href, download: name });
  link.click();
}

function save(file, name) {
  const source = URL.createObjectURL(file);
  download(source, name);
  setTimeout(() => URL.revokeObjectURL(source), 60_000);
}

/** Save the moment of a row as WAV. */
export const saveRow = (row) => download(soundUrl(row), fileName(row));

/**
 * Save rows as a file.
 * @param {import("./question.js").Row[]} rows
 * @param {{format: "zip" | "csv" | "m3u", sound?: "moments" | "files", signal?: AbortSignal}} options
 */
export async function take(rows, { format, sound = "moments", signal }) {
  const body = { clip: rows.map((row) => row.clip_id), at: rows.map(atOf), format, sound };
  if (rows.every((row) => Number.isFinite(row.score))) body.score = rows.map((row) => row.score);
  save(await blob("POST", "/export", { body, signal }), { zip: "sounds.zip", csv: "sounds.csv", m3u: "sounds.m3u8" }[format]);
}

/** Put a text into the clipboard. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    say(`Copied: ${text}`);
  } catch {
    say(text); // it can be selected there
  }
}
