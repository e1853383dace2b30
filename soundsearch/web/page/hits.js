// A list of clips that is fast to move through.
import { Component, html, useEffect, useLayoutEffect, useRef, useState } from "./vendor.js";
import { go, keep, kept } from "./address.js";
import { Icon } from "./icons.js";
import { useKeys } from "./keys.js";
import { folderOf, nameOf, shown, time } from "./names.js";
import { ending, play, player, prefetch, stop, toggle, usePosition } from "./player.js";
import { keyOf } from "./question.js";
import { Spectrogram } from "./spectrogram.js";
import { observable, selection, useStore } from "./store.js";
import { Actions, Kept, actionKeys, askWith } from "./steer.js";
import { dragRow } from "./taking.js";

// Rows after the selected one whose moments are fetched ahead.
const AHEAD = 3;
// How long a row is selected until what is next is fetched, milliseconds: a held key passes over many.
const STAYED = 100;

const isOf = (row) => ({ clip, start }) => clip?.clip_id === row.clip_id && start === row.start;
const labelsOf = (row) => [...(row.human_labels ?? []), ...row.labels];
// Whether the selected row's spectrogram is shown, in all lists.
const picture = observable({ isShown: false });

/** What a screen reader says of a row. */
function said(row) {
  const parts = [nameOf(row.uri)];
  if (row.score !== undefined) parts.push(`score ${row.score.toFixed(2)}`);
  parts.push(`${time(row.start)} to ${time(row.end)}`);
  const names = labelsOf(row).slice(0, 3).map((label) => shown(label.name));
  return [...parts, ...names].join(", ");
}

/** How much of what plays was heard. */
function Played({ row }) {
  const at = usePosition(({ clip }) => clip?.clip_id === row.clip_id);
  const { start } = player.value, all = ending() - start;
  return at === null || !all ? null : html`<i class="played" style=${{ width: `${(100 * (at - start)) / all}%` }}></i>`;
}

class Row extends Component {
  state = { isUnder: false };

  shouldComponentUpdate(next, { isUnder }) {
    return isUnder !== this.state.isUnder || ["row", "at", "isSelected", "playing"].some((name) => next[name] !== this.props[name]);
  }

  render({ row, at, isSelected, playing, onSelect, onPlay }, { isUnder }) {
    const given = row.human_labels ?? [];
    const tags = Object.entries(row.tags ?? {});
    const isOn = playing === "playing" || playing === "loading";
    return html`
      <div role="row" class="hit" aria-rowindex=${at + 1} aria-selected=${isSelected} aria-label=${said(row)}
        tabindex=${isSelected ? 0 : -1} data-clip=${row.clip_id} onClick=${onSelect}
        onPointerEnter=${() => this.setState({ isUnder: true })} onPointerLeave=${() => this.setState({ isUnder: false })}
        draggable=${true} onDragStart=${(event) => dragRow(event, row)}>
        <span role="gridcell" class="press">
          <button class="plain" tabindex="-1" aria-label=${isOn ? "Pause" : "Play"} title="Play (Space)"
            onClick=${onPlay}><${Icon} name=${isOn ? "pause" : "play"} /></button>${playing && html`<${Played} row=${row} />`}
        </span>
        <span role="gridcell" class="name">
          <b class="cut">${nameOf(row.uri)}</b> <small class="cut"><bdi dir="ltr">${folderOf(row.uri)}</bdi></small>
        </span>
        <span role="gridcell" class="moment">
          ${time(row.start)}–${time(row.end)}
        </span>
        <span role="gridcell" class="score">${row.score?.toFixed(2)}</span>
        <span role="gridcell" class="labels">
          ${given.map((label) => html`<span class="label given" title="Given by people">${shown(label.name)}</span> `)}
          ${row.labels.slice(0, 3).map((label) => html`
            <span class="label" title=${shown(label.path?.join(" › ") ?? "")}>${shown(label.name)} <small>${label.score.toFixed(2)}</small></span> `)}
          ${row.warning && html`<small class="soft">${shown(row.warning)}</small>`}
          ${tags.map(([name, value]) => html`<span class="tag">${shown(name)} ${shown(value)}</span> `)}
        </span>
        <span role="gridcell" class="actions"><${isSelected || isUnder ? Actions : Kept} row=${row} /></span>
      </div>`;
  }
}

/**
 * A list of rows, one of which is selected; keys move through it and play.
 * @param {{rows: import("./question.js").Row[], label: string, name?: string, isBusy?: boolean,
 *   onMore?: (() => void) | null, onAsk?: (row: any) => void}} props
 *   `name`: of what it lists; the selection is kept with the address for as long as it is the same.
 *   `onAsk`: what Enter does; by default it asks with the clip.
 */
export function Hits({ rows, label, name = "", isBusy = false, onMore = null, onAsk = askWith }) {
  const grid = useRef(), isWaiting = useRef(false);
  const [key, setKey] = useState(() => (kept().list === name && kept().row) || null);
  const found = rows.findIndex((row) => keyOf(row) === key);
  const at = Math.max(0, found), row = rows[at];
  const state = useStore(player), { isShown } = useStore(picture);

  const select = (next, isFocused = true) => {
    const to = Math.min(rows.length - 1, Math.max(0, next));
    isWaiting.current = Boolean(onMore) && next >= rows.length;
    if (isWaiting.current) onMore();
    setKey(keyOf(rows[to]));
    keep({ list: name, row: keyOf(rows[to]) });
    const element = grid.current.querySelector(`[aria-rowindex="${to + 1}"]`);
    if (isFocused) element?.focus({ preventScroll: true });
    element?.scrollIntoView({ block: "nearest" });
  };
  const playMoment = (which) => (isOf(which)(player.value) ? toggle() : play(which, which));
  const screen = () => Math.max(1, Math.floor(innerHeight / 60));

  useEffect(() => {
    selection.set({ row });
    const timer = setTimeout(() => prefetch(rows.slice(at, at + 1 + AHEAD)), STAYED);
    return () => clearTimeout(timer);
  }, [row]);
  useLayoutEffect(() => {
    if (isWaiting.current) select(at + 1);
  }, [rows.length]);
  useEffect(() => {
    if (isShown) grid.current.querySelector("[aria-selected=true]")?.scrollIntoView({ block: "nearest" });
  }, [isShown]);
  useEffect(() => {
    // Where what had the focus is gone, or asked this, keys go on here.
    const from = document.activeElement;
    const isFree = from === document.body || from?.matches("[data-asked=true]");
    if (isFree && navigator.userActivation?.hasBeenActive) grid.current.querySelector("[aria-selected=true]")?.focus({ preventScroll: true });
    if (kept().list === name) grid.current.querySelector("[aria-selected=true]")?.scrollIntoView({ block: "nearest" });
    return () => { selection.set({ row: null }); prefetch([]); };
  }, []);
  useKeys([
    { keys: ["ArrowDown", "j"], help: "Next", run: () => select(at + 1) },
    { keys: ["ArrowUp", "k"], help: "Previous", run: () => select(at - 1) },
    { keys: ["PageDown"], help: "Far down", run: () => select(Math.min(rows.length - 1, at + screen())) },
    { keys: ["PageUp"], help: "Far up", run: () => select(at - screen()) },
    { keys: ["Home"], help: "First", run: () => select(0) },
    { keys: ["End"], help: "Last", run: () => select(rows.length - 1) },
    { keys: ["Space"], help: "Play the moment", run: () => playMoment(row) },
    { keys: ["Shift+Space"], help: "Play the whole clip", run: () => play(row) },
    { keys: ["Enter"], help: "Ask with it", run: () => onAsk(row) },
    { keys: ["s"], help: "Show its spectrogram", run: () => picture.set({ isShown: !picture.value.isShown }) },
    { keys: ["o"], help: "Open it", run: () => go({}, { path: `/clip/${row.clip_id}` }) },
    { keys: ["Escape"], help: "Stop", run: stop },
    ...actionKeys(row),
  ]);
  return html`
    <div class="hits" role="grid" aria-label=${label} aria-rowcount=${onMore ? -1 : rows.length} ref=${grid}>
      ${rows.map((each, index) => html`
        <${Row} key=${keyOf(each)} row=${each} at=${index} isSelected=${index === at}
          playing=${isOf(each)(state) || (state.clip?.clip_id === each.clip_id && index === at) ? state.state : ""}
          onSelect=${() => select(index)}
          onPlay=${(event) => { event.stopPropagation(); select(index); playMoment(each); }} />`)}
    </div>
    ${onMore && html`<button class="more" disabled=${isBusy} onClick=${onMore}>More</button>`}
    ${isShown && html`<aside class="picture" aria-label="Spectrogram"><${Spectrogram} row=${row} /></aside>`}`;
}
