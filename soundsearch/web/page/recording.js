// The view of "/clip/ID": a recording over its time, what is heard in it, and what corrects that.
import { html, useEffect, useMemo, useState } from "./vendor.js";
import { api } from "./api.js";
import { go, href } from "./address.js";
import { instead, itemsOf, useCorrections, without } from "./corrections.js";
import { Edit } from "./edit.js";
import { useKeys } from "./keys.js";
import { folderOf, nameOf, shown, time } from "./names.js";
import { play, player, position, stop } from "./player.js";
import { nameOf as called, partOf, Timeline, zoomed } from "./timeline.js";

const fixed = (seconds) => Number(seconds.toFixed(3));

/** The part that an address shows: all, if it does not say. */
function partIn(params, duration) {
  const found = /^(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)$/.exec(params.get("at") ?? "");
  return found ? partOf(Number(found[1]), Number(found[2]), duration) : { from: 0, until: duration };
}

/** Labels without a time. */
function Whole({ said, onRemove }) {
  const whole = said.filter(({ onset }) => onset === null);
  return whole.length > 0 && html`
    <ul class="whole" aria-label="Labels by people">${whole.map(({ label, heard }) => html`
      <li class=${`label ${heard ? "given" : "none"}`} key=${label.name}>
        ${heard ? "" : "not "}${shown(label.name)}
        <button class="plain" aria-label=${`Take back ${shown(label.name)}`}
          onClick=${() => onRemove(label)}>✕</button>
      </li>`)}</ul>`;
}

function Recording({ clip, address }) {
  const { id, duration } = clip;
  const { data, error, isBusy, say, undo, canUndo } = useCorrections(id);
  const items = useMemo(() => (data ? itemsOf(data) : []), [data]);
  const [key, setKey] = useState(null);
  const [mark, setMark] = useState(null);
  const part = partIn(address.params, duration);
  const item = items.find((each) => each.key === key) ?? null;

  const show = ({ from, until }) => {
    const isAll = from <= 0 && until >= duration;
    go({ at: isAll ? null : `${fixed(from)}-${fixed(until)}` }, { replace: true });
  };
  const zoom = (by) => {
    const about = item ? (item.onset + item.offset) / 2 : (part.from + part.until) / 2;
    show(zoomed(part, by, about, duration));
  };
  const focus = () => {
    const from = document.activeElement;
    requestAnimationFrame(() => {
      if (![from, document.body].includes(document.activeElement)) return; // a key took it elsewhere
      (document.querySelector('.event [aria-current="true"]') ?? document.querySelector('.event [tabindex="0"]'))?.focus();
    });
  };
  const choose = (next) => {
    setKey(next?.key ?? null);
    setMark(null);
    if (next && (next.onset < part.from || next.onset >= part.until)) {
      const length = part.until - part.from;
      show(partOf(next.onset - length / 10, next.onset + 0.9 * length, duration));
    }
    if (next) focus();
  };
  const step = (by) => {
    const at = items.findIndex((each) => each.key === key);
    const next = at < 0 ? items.findIndex((each) => each.offset > part.from) : at + by;
    if (items[next]) choose(items[next]);
  };
  const playItem = (each) => play(clip, { start: each.onset, end: each.offset });
  const playAll = (start = 0) => play(clip, { start });
  /** Say something, and go on with what comes of it. */
  const correct = async (changes, next = null) => {
    const isSaid = await say(changes);
    if (isSaid && next) setKey((now) => (now === key ? next : now)); // unless another was chosen
    setMark(null);
    if (document.activeElement === document.body) focus(); // what had it is gone
  };
  const keyOf = (name, [onset, offset], isNone = false) => `${name} ${fixed(onset)}-${fixed(offset)} ${isNone}`;
  const takeBack = async () => {
    if (await undo() && item?.by === "no") setKey(keyOf(item.label.name, [item.onset, item.offset]));
    requestAnimationFrame(() => { if (document.activeElement === document.body) focus(); });
  };
  const leave = () => {
    if (document.activeElement?.matches(".correct input")) { focus(); return; }
    stop();
    choose(null);
  };
  const confirm = () => item && item.by !== "people"
    && correct(instead({ ...item, by: "head" }, item.label.mid || item.label.name, [item.onset, item.offset]));
  const reject = () => item && item.by !== "no"
    && correct([without(item)], keyOf(item.label.name, [item.onset, item.offset], item.by === "head"));
  const resize = (which, at) => {
    const to = at.map(fixed);
    correct(instead(which, which.label.mid || which.label.name, to), keyOf(which.label.name, to));
  };
  const edge = (which) => {
    if (!item || item.by === "no" || player.value.clip?.id !== id) return;
    const at = which === 0 ? [position(), item.offset] : [item.onset, position()];
    if (at[0] < at[1]) resize(item, at);
  };
  const save = (label, at) => {
    const to = at?.map(fixed) ?? null;
    if (!item || !to) return correct([{ label, at: to, heard: "yes" }]);
    return correct(instead(item, label, to));
  };
  useKeys([
    { keys: ["ArrowRight", "ArrowDown", "j"], help: "Next event", run: () => step(1) },
    { keys: ["ArrowLeft", "ArrowUp", "k"], help: "Previous event", run: () => step(-1) },
    { keys: ["Space"], help: "Play the event, or from here", run: () => (item ? playItem(item) : playAll(part.from)) },
    { keys: ["Shift+Space"], help: "Play all", run: () => playAll() },
    { keys: ["c"], help: "Confirm: it is heard", run: confirm },
    { keys: ["x", "Delete"], help: "Reject: it is not heard", run: reject },
    { keys: ["e"], help: "Change the label", run: () => document.getElementById("label")?.select() },
    { keys: ["["], help: "Begin the event where it plays", run: () => edge(0) },
    { keys: ["]"], help: "End the event where it plays", run: () => edge(1) },
    { keys: ["u"], help: "Undo", run: takeBack },
    { keys: ["+", "="], help: "Zoom in", run: () => zoom(0.5) },
    { keys: ["-"], help: "Zoom out", run: () => zoom(2) },
    { keys: ["0"], help: "Show all", run: () => show({ from: 0, until: duration }) },
    { keys: ["Escape"], help: "Stop, choose nothing", isFree: true, run: leave },
  ]);
  const length = part.until - part.from;
  const isZoomed = length < duration - 0.001;
  const [start, end] = item ? [item.onset, item.offset] : mark ?? [null, null];
  return html`
    <div class="zooming">
      <button onClick=${() => zoom(0.5)} aria-label="Zoom in">+</button>
      <button onClick=${() => zoom(2)} aria-label="Zoom out" disabled=${!isZoomed}>−</button>
      <button onClick=${() => show({ from: 0, until: duration })} disabled=${!isZoomed}>All</button>
      <input type="range" aria-label="Part that is shown" min="0" max=${Math.max(0.01, duration - length)} step="any"
        value=${part.from} disabled=${!isZoomed} aria-valuetext=${`${time(part.from)} to ${time(part.until)}`}
        onInput=${(event) => { const from = Number(event.target.value); show(partOf(from, from + length, duration)); }} />
      <span class="time">${time(part.from)}–${time(part.until)}</span>
    </div>
    <section class="correct" aria-label="Correct">
      <p class="what" role="status">${item ? called(item) : mark ? `${time(start, 2)} to ${time(end, 2)}` : ""}</p>
      ${item && html`<span class="press">
        <button onClick=${() => playItem(item)}>Play</button>
        ${item.by !== "people" && html`<button onClick=${confirm} disabled=${isBusy}>Confirm</button>`}
        ${item.by !== "no" && html`<button onClick=${reject} disabled=${isBusy}>${item.by === "head" ? "Not heard" : "Remove"}</button>`}
        ${item.by === "no" && html`<button onClick=${() => correct([without(item)])} disabled=${isBusy}>Take back</button>`}
      </span>`}
      ${start !== null && html`<a href=${href({ clip: id, at: `${fixed(start)}-${fixed(end)}` }, { path: "/" })}>Find in library</a>`}
      ${(canUndo || item) && html`<button class="undo" onClick=${takeBack} disabled=${!canUndo || isBusy}>Undo</button>`}
      <${Edit} key=${item?.key ?? (mark ? `${start} ${end}` : "")} item=${item} start=${start} end=${end}
        duration=${duration} isBusy=${isBusy} onSave=${save} />
      ${error && html`<p class="problem" role="alert">${shown(error.message)}</p>`}
      ${data && html`<${Whole} said=${data.said}
        onRemove=${(label) => correct([{ label: label.mid || label.name, at: null, heard: "unsaid" }])} />`}
    </section>
    <${Timeline} id=${id} duration=${duration} items=${items} part=${part} chosen=${item?.key ?? null} mark=${mark}
      onPart=${show} onPlay=${playAll} onMark=${(made) => { setMark(made); if (made) setKey(null); }} onResize=${resize}
      onChoose=${(which, second) => { choose(which); play(clip, { start: second ?? which.onset, end: which.offset }); }} />
    ${data && !items.length && html`<p class="soft">Nothing was heard in it surely.</p>`}`;
}

/** @param {{address: import("./address.js").Address}} props */
export default function View({ address }) {
  const { id } = address;
  const [{ clip, error }, setFound] = useState({ clip: null, error: null });
  useEffect(() => {
    const ended = new AbortController();
    setFound({ clip: null, error: null });
    api.get(`/clips/${id}`, {}, { signal: ended.signal }).then(
      (found) => setFound({ clip: found, error: null }),
      (problem) => { if (!ended.signal.aborted) setFound({ clip: null, error: problem }); },
    );
    return () => ended.abort();
  }, [id]);
  const name = clip && nameOf(clip.uri);
  useEffect(() => { document.title = `${name ?? "Recording"} – soundsearch`; }, [name]);
  if (error) {
    return html`<main class="lost"><h1>${error.status === 404 ? "There is no such recording." : "Recording"}</h1>
      <p class="problem" role="alert">${shown(error.message)}</p></main>`;
  }
  return html`
    <main class="recorded">
      ${!clip ? html`<h1 class="unseen">Recording</h1>` : html`
        <header>
          <h1>${name}</h1> <span class="soft">${folderOf(clip.uri)}</span> <span class="time">${time(clip.duration)}</span>
          ${Object.entries(clip.tags ?? {}).map(([tag, value]) => html`<span class="tag">${shown(tag)} ${shown(value)}</span>`)}
          <a href=${href({ clip: id }, { path: "/" })}>Similar</a>
        </header>
        ${clip.warning && html`<p class="soft">${shown(clip.warning)}</p>`}
        <${Recording} key=${id} clip=${clip} address=${address} />`}
    </main>`;
}
