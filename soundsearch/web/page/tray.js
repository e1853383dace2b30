// The tray: what was put aside; it is listened to, ordered, saved and shared.
import { html, useEffect, useRef, useState } from "./vendor.js";
import { href } from "./address.js";
import { ApiError, api } from "./api.js";
import { Hits } from "./hits.js";
import { Icon } from "./icons.js";
import { drop, empty, move, put, tray } from "./keeping.js";
import { useKeys } from "./keys.js";
import { counted, shown } from "./names.js";
import { keyOf, rowOf } from "./question.js";
import { useStore } from "./store.js";
import { atOf, copy, droppedRow, isRowDragged, take } from "./taking.js";

// An address holds so many, and so many are asked for.
const SHARED = 60;

/** The rows that an address shares; `missing`: how many of them are not in the library. */
function useShared(items) {
  const [found, setFound] = useState({ rows: [], missing: 0, isDone: !items.length });
  useEffect(() => {
    const stop = new AbortController();
    setFound({ rows: [], missing: 0, isDone: !items.length });
    const ask = async (item) => {
      const parts = /^(\d{1,15})@(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)?$/.exec(item);
      if (!parts) return null;
      const row = rowOf(await api.get(`/clips/${parts[1]}`, {}, { signal: stop.signal }));
      const start = Number(parts[2]), end = Math.min(row.end, Number(parts[3] ?? row.end));
      return end > start ? { ...row, start, end } : row;
    };
    const gone = (error) => { if (error instanceof ApiError && error.status === 404) return null; throw error; };
    Promise.all(items.slice(0, SHARED).map((item) => ask(item).catch(gone))).then((all) => {
      const rows = new Map(all.filter(Boolean).map((row) => [keyOf(row), row]));
      setFound({ rows: [...rows.values()], missing: all.filter((row) => !row).length, isDone: true });
    }, (error) => { if (!stop.signal.aborted) setFound({ rows: [], missing: items.length, isDone: true, problem: error.message }); });
    return () => stop.abort();
  }, [items.join(" ")]);
  return found;
}

function Downloads({ rows }) {
  const [stop, setStop] = useState(null);
  const [problem, setProblem] = useState("");
  const save = (options) => async () => {
    const stopper = new AbortController();
    setStop(stopper);
    setProblem("");
    try {
      await take(rows, { ...options, signal: stopper.signal });
    } catch (error) {
      if (!stopper.signal.aborted) setProblem(error.message);
    }
    setStop(null);
  };
  const button = (name, help, options) => html`<button disabled=${Boolean(stop)} title=${help} onClick=${save(options)}>${name}</button>`;
  return html`
    ${button("ZIP of moments", "The moments as WAV", { format: "zip" })}
    ${button("ZIP of files", "The files as they are", { format: "zip", sound: "files" })}
    ${button("CSV", "A table", { format: "csv" })}
    ${button("M3U", "A playlist", { format: "m3u" })}
    ${stop && html`<span role="status">Saving… <button onClick=${() => stop.abort()}>Cancel</button></span>`}
    ${problem && html`<p class="problem" role="alert">${shown(problem)}</p>`}`;
}

/** Rows that can be moved, by dragging and by keys. */
function Order({ rows, children }) {
  const list = useRef();
  const [over, setOver] = useState(null);
  const chosen = () => list.current?.querySelector(".hit[aria-selected=true]");
  const placeIn = (hit) => Number(hit?.getAttribute("aria-rowindex") ?? 0) - 1;
  const at = () => placeIn(chosen());
  const focus = () => requestAnimationFrame(() => chosen()?.focus());
  const shift = (by) => { move(at(), at() + by); focus(); };
  useKeys([
    { keys: ["Shift+ArrowUp"], help: "Move up", run: () => shift(-1) },
    { keys: ["Shift+ArrowDown"], help: "Move down", run: () => shift(1) },
    { keys: ["Delete", "Backspace"], help: "Take out of the tray", run: () => { if (at() >= 0) drop(rows[at()]); focus(); } },
  ]);
  const placeOf = (event) => placeIn(event.target.closest?.(".hit"));
  const onDragOver = (event) => {
    if (!isRowDragged(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "move";
    setOver(placeOf(event));
  };
  const onDrop = (event) => {
    event.preventDefault();
    setOver(null);
    const from = rows.findIndex((row) => keyOf(row) === droppedRow(event));
    if (from >= 0 && placeOf(event) >= 0) move(from, placeOf(event));
  };
  useEffect(() => {
    const hits = [...list.current.querySelectorAll(".hit")];
    hits.forEach((hit, index) => hit.classList.toggle("over", index === over));
  }, [over]);
  return html`<div ref=${list} class="ordered" onDragOver=${onDragOver} onDragLeave=${() => setOver(null)} onDragEnd=${() => setOver(null)} onDrop=${onDrop}>${children}</div>`;
}

function Shared({ items }) {
  const { rows, missing, isDone, problem } = useShared(items);
  useEffect(() => { document.title = "Shared tray – soundsearch"; }, []);
  return html`
    <h1>Shared tray</h1>
    <div class="steer">
      <button disabled=${!rows.length} onClick=${() => put(rows)}>Add all to my tray</button>
      <${Downloads} rows=${rows} /> <a href="/tray">My tray</a>
    </div>
    <p class="soft" role="status">${isDone ? counted(rows.length, "sound") : "…"}${missing > 0 && `, ${missing} not in this library`}</p>
    ${problem && html`<p class="problem" role="alert">${shown(problem)}</p>`}
    ${rows.length > 0 && html`<${Hits} rows=${rows} name="shared" label="Shared tray" />`}`;
}

function Own() {
  const { rows } = useStore(tray);
  useEffect(() => { document.title = `Tray – soundsearch`; }, []);
  if (!rows.length) {
    return html`<h1 class="unseen">Tray</h1><p class="soft">Nothing here yet. <${Icon} name="tray" /> beside a sound, or the key <kbd>t</kbd>, puts it here.</p>`;
  }
  const link = href({ item: rows.map((row) => `${row.clip_id}@${atOf(row)}`) }, { path: "/tray", from: new URLSearchParams() });
  const isShareable = rows.length <= SHARED;
  return html`
    <h1 class="unseen">Tray</h1>
    <div class="steer">
      <${Downloads} rows=${rows} />
      <button disabled=${!isShareable} title=${isShareable ? "Copy an address that shows these" : `An address holds ${SHARED} at most`}
        onClick=${() => copy(new URL(link, location.href).href)}>Copy address</button>
      <button onClick=${empty}>Empty</button>
    </div>
    <p class="soft" role="status">${counted(rows.length, "sound")}</p>
    <${Order} rows=${rows}><${Hits} rows=${rows} name="tray" label="Tray" /><//>`;
}

/** @param {{address: import("./address.js").Address}} props */
export default function View({ address }) {
  const items = address.params.getAll("item");
  return html`<main class="tray">${items.length ? html`<${Shared} items=${items} />` : html`<${Own} />`}</main>`;
}
