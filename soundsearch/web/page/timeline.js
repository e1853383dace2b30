// A recording over its time: its levels, and a row of events for each label, in a part that is zoomed.
import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from "./vendor.js";
import { blob } from "./api.js";
import { shown, time } from "./names.js";
import { usePosition } from "./player.js";
import { heightOf, TICKS } from "./spectrogram.js";

// A longer part is shown without its levels: all of it would have to be decoded, seconds.
const LONGEST_DRAWN = 900;
// The shortest part that is shown, seconds.
const SHORTEST = 0.5;
const TILE = { width: 800, height: 128 };
// Events that would be narrower are drawn together, pixels.
const NARROW = 3;
// Rows that are shown at first.
const ROWS = 30;
// Of the ruler, seconds.
const STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14_400];
// How far the pointer goes before it marks, pixels.
const STILL = 4;

const clamp = (value, least, most) => Math.max(least, Math.min(most, value));

/** A part of a recording of some length, as near to what is wanted as there is. */
export function partOf(from, until, duration) {
  const length = clamp(until - from, Math.min(SHORTEST, duration), duration);
  const start = clamp(from, 0, duration - length);
  return { from: start, until: start + length };
}

/** A part with its length times `by`, about a second that stays where it is. */
export function zoomed({ from, until }, by, about, duration) {
  const length = clamp((until - from) * by, Math.min(SHORTEST, duration), duration);
  const share = (about - from) / (until - from);
  return partOf(about - share * length, about + (1 - share) * length, duration);
}

function Tile({ id, from, until, onProblem }) {
  const [source, setSource] = useState(null);
  useEffect(() => {
    const stop = new AbortController();
    let made = null;
    const params = { at: `${from.toFixed(3)}-${until.toFixed(3)}`, ...TILE };
    blob("GET", `/clips/${id}/spectrogram`, { params, signal: stop.signal })
      .then((picture) => {
        if (!stop.signal.aborted) setSource(made = URL.createObjectURL(picture));
      })
      .catch((error) => { if (!stop.signal.aborted) onProblem(error); });
    return () => {
      stop.abort();
      if (made) URL.revokeObjectURL(made);
    };
  }, []);
  return source && html`<img src=${source} alt="" draggable=${false} />`;
}

/** The levels of a part, in pictures of stretches whose length is a power of two. */
function Levels({ id, part: { from, until }, duration, place }) {
  const [problem, setProblem] = useState(null);
  if (problem) return html`<p class="problem" role="alert">${shown(problem.message)}</p>`;
  const length = Math.max(1, 2 ** Math.ceil(Math.log2((until - from) / 3)));
  const tiles = [];
  for (let at = Math.floor(from / length) * length; at < Math.min(until, duration); at += length) {
    const end = Math.min(at + length, duration);
    if (end - at > 0.001) tiles.push([at, end]);
  }
  return tiles.map(([at, end]) => html`
    <span class="tile" key=${`${at}-${end}`} style=${place(at, end)}>
      <${Tile} id=${id} from=${at} until=${end} onProblem=${setProblem} /></span>`);
}

function Ruler({ part: { from, until }, place }) {
  const step = STEPS.find((each) => (until - from) / each <= 8) ?? STEPS.at(-1);
  const ticks = Array.from({ length: 12 }, (_, at) => (Math.ceil(from / step) + at) * step);
  return html`<div class="ruler" aria-hidden="true">${ticks.filter((each) => each < until).map((each) => html`
    <span key=${each} style=${{ left: place(each, each).left }}>${time(each, step < 1 ? 1 : 0)}</span>`)}</div>`;
}

function Head({ id, part: { from, until }, onLeave }) {
  const at = usePosition(({ clip }) => (clip?.clip_id ?? clip?.id) === id);
  const isOut = at !== null && (at < from || at >= until);
  useEffect(() => { if (isOut) onLeave(at); }, [isOut]);
  if (at === null || isOut) return null;
  return html`<i class="head" style=${{ left: `${(100 * (at - from)) / (until - from)}%` }}></i>`;
}

/** The events of a row that a part shows; those that would be too narrow to press are joined. */
function drawnOf(items, { from, until }, width, chosen) {
  const narrow = (NARROW * (until - from)) / Math.max(1, width);
  const drawn = [];
  for (const item of items) {
    if (item.offset <= from || item.onset >= until) continue;
    const last = drawn.at(-1);
    const isNarrow = item.offset - item.onset < narrow && item.key !== chosen;
    if (isNarrow && last && !last.item && item.onset - last.offset < narrow) last.offset = Math.max(last.offset, item.offset);
    else drawn.push({ item: isNarrow ? null : item, onset: item.onset, offset: item.offset });
  }
  return drawn;
}

const BY = { head: "predicted", people: "by people", no: "not heard" };

/** What an item is called. */
export const nameOf = ({ label, onset, offset, by }) =>
  `${shown(label.name)}, ${time(onset, 2)} to ${time(offset, 2)}, ${BY[by]}${by === "head" ? ` ${label.score.toFixed(2)}` : ""}`;

function Bar({ item, isChosen, isFirst, part, place, onChoose, onResize }) {
  const { from, until } = part;
  const drag = (edge) => (event) => {
    event.preventDefault();
    event.stopPropagation();
    const track = event.target.closest(".track").getBoundingClientRect();
    const target = event.target;
    target.setPointerCapture(event.pointerId);
    const second = (moved) => from + ((moved.clientX - track.left) / track.width) * (until - from);
    const move = (moved) => onResize(edge, second(moved), false);
    target.addEventListener("pointermove", move);
    target.addEventListener("pointerup", (moved) => {
      target.removeEventListener("pointermove", move);
      onResize(edge, second(moved), true);
    }, { once: true });
  };
  const choose = (event) => onChoose(event.detail ? event : null);
  return html`
    <span class="event" data-by=${item.by} style=${place(item.onset, item.offset)}>
      <button aria-label=${nameOf(item)} aria-current=${isChosen ? "true" : null} data-item=${item.key}
        tabindex=${isChosen || isFirst ? 0 : -1} style=${{ opacity: item.by === "head" ? 0.35 + 0.65 * item.label.score : 1 }}
        title=${nameOf(item)} onClick=${choose}></button>
      ${isChosen && item.by !== "no" && ["onset", "offset"].map((edge) => html`
        <i class=${`edge ${edge}`} onPointerDown=${drag(edge)}></i>`)}
    </span>`;
}

/**
 * @param {{id: number, duration: number, items: import("./corrections.js").Item[], part: {from: number,
 *   until: number}, chosen: string | null, mark: [number, number] | null, onPart: (part: any) => void,
 *   onChoose: (item: any, second: number | null) => void, onPlay: (second: number) => void,
 *   onMark: (mark: [number, number] | null) => void,
 *   onResize: (item: any, at: [number, number]) => void}} props
 */
export function Timeline({ id, duration, items, part, chosen, mark, onPart, onChoose, onPlay, onMark, onResize }) {
  const box = useRef();
  const [width, setWidth] = useState(800);
  const [all, setAll] = useState(false);
  const [draft, setDraft] = useState(null);
  const { from, until } = part;
  const now = useRef();
  now.current = { part, onPart };
  useLayoutEffect(() => {
    const watcher = new ResizeObserver(([{ contentRect }]) => setWidth(contentRect.width));
    watcher.observe(box.current);
    // A page scrolls by the wheel; with Ctrl, as a pinch has it, or sideways, it is the timeline's.
    const turn = (event) => {
      const { part: { from: a, until: b }, onPart: tell } = now.current;
      const { left, width: wide } = box.current.getBoundingClientRect();
      if (event.ctrlKey) {
        const about = a + ((event.clientX - left) / wide) * (b - a);
        tell(zoomed({ from: a, until: b }, 1.002 ** clamp(event.deltaY, -300, 300), about, duration));
      } else if (Math.abs(event.deltaX) > Math.abs(event.deltaY) || event.shiftKey) {
        const by = ((event.deltaX || event.deltaY) / wide) * (b - a);
        tell(partOf(a + by, b + by, duration));
      } else return;
      event.preventDefault();
    };
    const area = box.current.closest(".tracks");
    area.addEventListener("wheel", turn, { passive: false });
    return () => { watcher.disconnect(); area.removeEventListener("wheel", turn); };
  }, [duration]);
  const place = (onset, offset) => ({
    left: `${(100 * (Math.max(onset, from - 1) - from)) / (until - from)}%`,
    width: `${(100 * (Math.min(offset, until + 1) - Math.max(onset, from - 1))) / (until - from)}%`,
  });
  const second = (event) => {
    const { left, width: wide } = box.current.getBoundingClientRect();
    return clamp(from + ((event.clientX - left) / wide) * (until - from), 0, duration);
  };
  const rows = useMemo(() => {
    const found = new Map();
    for (const item of items) {
      const row = found.get(item.label.name) ?? { name: item.label.name, path: item.label.path, items: [], total: 0 };
      row.items.push(item);
      row.total += item.offset - item.onset;
      found.set(item.label.name, row);
    }
    return [...found.values()].sort((a, b) => b.total - a.total);
  }, [items]);
  const press = (event) => {
    if (event.button || event.target.closest("button")) return;
    const begin = second(event), x = event.clientX, target = event.currentTarget;
    target.setPointerCapture(event.pointerId);
    const markOf = (moved) => (Math.abs(moved.clientX - x) > STILL
      ? [begin, second(moved)].sort((a, b) => a - b) : null);
    const move = (moved) => onMark(markOf(moved));
    target.addEventListener("pointermove", move);
    target.addEventListener("pointerup", (moved) => {
      target.removeEventListener("pointermove", move);
      const made = markOf(moved);
      onMark(made);
      if (!made) onPlay(begin);
    }, { once: true });
  };
  const resize = (item) => (edge, to, isDone) => {
    const { onset, offset } = item;
    const at = edge === "onset" ? [clamp(to, 0, offset - 0.01), offset] : [onset, clamp(to, onset + 0.01, duration)];
    setDraft(isDone ? null : { key: item.key, at });
    if (isDone) onResize(item, at);
  };
  const first = items.find((item) => item.offset > from)?.key;
  const isDrawn = until - from <= LONGEST_DRAWN;
  const listed = all ? rows : rows.slice(0, ROWS);
  const leave = (at) => { if (at >= until) onPart(partOf(at, at + until - from, duration)); };
  return html`
    <div class="tracks">
      <div class="names hertz" aria-hidden="true">${isDrawn && TICKS.map((each) => html`
        <span style=${{ bottom: `${100 * heightOf(each)}%` }}>${each >= 1000 ? `${each / 1000}k` : each}</span>`)}</div>
      <div class=${`strip ${isDrawn ? "" : "far"}`} ref=${box} onPointerDown=${press}>
        ${isDrawn ? html`<${Levels} key=${id} id=${id} part=${part} duration=${duration} place=${place} />`
          : html`<p class="soft">Zoom in to see the sound</p>`}
        ${mark && html`<i class="mark" style=${place(...mark)}></i>`}
        <${Head} id=${id} part=${part} onLeave=${leave} />
      </div>
      <span></span><${Ruler} part=${part} place=${place} />
      <ul class="rows" aria-label="Events">${listed.map((row) => html`
        <li key=${row.name}>
          <span class="names cut" title=${shown(row.path?.join(" › ") ?? row.name)}>${shown(row.name)}</span>
          <div class="track" onPointerDown=${press}>
            ${drawnOf(row.items, part, width, chosen).map(({ item, onset, offset }) => (item ? html`
              <${Bar} key=${item.key} item=${draft?.key === item.key ? { ...item, onset: draft.at[0], offset: draft.at[1] } : item}
                isChosen=${item.key === chosen} isFirst=${!chosen && item.key === first} part=${part} place=${place}
                onChoose=${(event) => onChoose(item, event && second(event))} onResize=${resize(item)} />`
              : html`<span class="event joined" key=${onset} style=${place(onset, offset)}></span>`))}
          </div>
        </li>`)}</ul>
      ${rows.length > listed.length && html`<span></span>
        <button class="more" onClick=${() => setAll(true)}>${rows.length - listed.length} more labels</button>`}
    </div>`;
}
