// The tray: moments that a person puts aside, kept by this browser for each library.
import { library, refresh } from "./library_state.js";
import { say } from "./notice.js";
import { observable, saved } from "./store.js";

/** What is kept at most: as many as the server sends at once. */
export const MOST_KEPT = 1000;

/** @type {{value: {rows: import("./question.js").Row[]}}} */
export const tray = observable({ rows: [] });

const isSame = (row) => (other) => other.clip_id === row.clip_id && other.start === row.start;

/** What is kept of a row. */
const kept = ({ clip_id, uri, start, end, duration, score, labels, human_labels, tags }) => ({
  clip_id, uri, start, end, duration, score, human_labels, tags,
  labels: labels.slice(0, 3).map((label) => ({ name: label.name, score: label.score, path: label.path })),
});

/** Whether something that was stored is a row: others may have written it. */
function isRow(row) {
  return Number.isSafeInteger(row?.clip_id) && typeof row.uri === "string" && Array.isArray(row.labels)
    && [row.start, row.end].every(Number.isFinite) && row.labels.every((label) => Number.isFinite(label?.score));
}

let place = null;

function load() {
  let stored = [];
  try {
    stored = JSON.parse(saved.get(place)) ?? [];
  } catch { /* it was not the page that wrote it */ }
  return Array.isArray(stored) ? stored.filter(isRow) : [];
}

/** Load what was kept, once it is known of which library: one that is still empty may not be made yet. */
function begin({ info }) {
  if (place || !info) return;
  place = `tray ${info.store}`;
  const early = tray.value.rows;
  const rows = load();
  tray.set({ rows: [...rows, ...early.filter((row) => !rows.some(isSame(row)))] });
  if (early.length) save();
}
library.watch(begin);
begin(library.value);
if (!place) refresh();

addEventListener("storage", (event) => {
  if (place && event.key === place) tray.set({ rows: load() });
});

function save() {
  if (!place) { refresh(); return; }
  try {
    localStorage.setItem(place, JSON.stringify(tray.value.rows));
  } catch {
    say("This browser has no room to keep the tray; it is gone when the page is closed.", true);
  }
}

function change(rows) {
  tray.set({ rows });
  save();
}

const keys = { rows: null, known: new Set() };

export function isKept(row) {
  const { rows } = tray.value;
  if (keys.rows !== rows) Object.assign(keys, { rows, known: new Set(rows.map((each) => `${each.clip_id} ${each.start}`)) });
  return keys.known.has(`${row.clip_id} ${row.start}`);
}

/** Put rows into the tray, behind those that are there. */
export function put(rows) {
  const fresh = rows.filter((row) => !isKept(row)).map(kept);
  const room = Math.max(0, MOST_KEPT - tray.value.rows.length);
  if (fresh.length > room) say(`The tray holds ${MOST_KEPT}.`, true);
  change([...tray.value.rows, ...fresh.slice(0, room)]);
}

/** Take a row out. */
export const drop = (row) => change(tray.value.rows.filter((each) => !isSame(row)(each)));

/** Put a row into the tray, or take it out. */
export const toggleKept = (row) => (isKept(row) ? drop(row) : put([row]));

export const empty = () => change([]);

/** Move the row at a place to another one. */
export function move(from, to) {
  const rows = [...tray.value.rows];
  if (!rows[from] || to < 0 || to >= rows.length) return;
  rows.splice(to, 0, ...rows.splice(from, 1));
  change(rows);
}
