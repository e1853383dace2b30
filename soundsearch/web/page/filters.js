// The panel of filters. `where` of the address is what holds: the panel reads it and writes it.
import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from "./vendor.js";
import { go } from "./address.js";
import { api } from "./api.js";
import { dayAfter, dayBefore, daysOf, readPer, secondsOf, writePer } from "./limits.js";
import { count, counted, shown } from "./names.js";
import { narrow, panel } from "./panel.js";
import { isQuestion } from "./question.js";
import { useStore } from "./store.js";
import { Tree } from "./tree.js";
import { Typed } from "./typed.js";
import { LEAST, readWhere, toggled, writeWhere } from "./where.js";

const SCORES = [0.1, 0.3, 0.5, 0.7, 0.9];
const RANKINGS = [["", "Sound as a whole"], ["mean-best", "All of its parts"], ["best-pair", "Nearest moments"],
  ["related", "Relatedness"]];

// Counts are kept by the server for a minute, and as long here.
const KEPT = 60_000;
const known = new Map();

function fetched(path, params) {
  const key = `${path} ${JSON.stringify(params)}`;
  if (!known.has(key)) {
    const found = api.get(path, params);
    known.set(key, found);
    found.catch(() => known.delete(key));
    setTimeout(() => known.delete(key), KEPT);
  }
  return known.get(key);
}

/** What the library holds, by kind; null until it is known. */
function useCounts(path, params = {}) {
  const [found, setFound] = useState({ value: null, problem: "" });
  useEffect(() => {
    let isOver = false;
    fetched(path, params).then(
      (value) => isOver || setFound({ value, problem: "" }),
      (error) => isOver || setFound({ value: null, problem: error.message }),
    );
    return () => { isOver = true; };
  }, [path, JSON.stringify(params)]);
  return found;
}

function Group({ name, isOpen = false, children }) {
  const [isShown, setShown] = useState(isOpen);
  useEffect(() => { if (isOpen) setShown(true); }, [isOpen]);
  return html`<details open=${isShown} onToggle=${(event) => setShown(event.currentTarget.open)}><summary><h2>${shown(name)}</h2></summary>${children}</details>`;
}

/** Counts as bars; each chooses its span, or lets it go. */
function Bars({ bars, span, onSpan, said }) {
  const most = Math.max(1, ...bars.map((bar) => bar.clips));
  const isOn = ([from, to]) => from === span[0] && to === span[1];
  return html`
    <div class="bars">${bars.map((bar) => html`
      <button key=${bar.span} class="bar" aria-pressed=${isOn(bar.span)} aria-label=${`${said(bar.span)}, ${counted(bar.clips, "clip")}`}
        title=${`${said(bar.span)}: ${count(bar.clips)}`} onClick=${() => onSpan(isOn(bar.span) ? [null, null] : bar.span)}>
        <span style=${{ height: `${Math.round(100 * Math.sqrt(bar.clips / most))}%` }}></span></button>`)}</div>`;
}

function Duration({ span, facets, onSpan }) {
  const side = (at) => (value) => {
    const number = value === "" || !(Number(value) >= 0) ? null : Number(value);
    onSpan(at ? [span[0], number] : [number, span[1]]);
  };
  const bars = facets?.durations.map(({ least, below, clips }) => ({ span: [least || null, below], clips })) ?? [];
  return html`
    <${Bars} bars=${bars} span=${span} onSpan=${onSpan} said=${secondsOf} />
    <div class="pair">
      <label>from <${Typed} type="number" min="0" step="any" value=${String(span[0] ?? "")} onValue=${side(0)} /></label>
      <label>below <${Typed} type="number" min="0" step="any" value=${String(span[1] ?? "")} onValue=${side(1)} /></label> s
    </div>`;
}

/** Months as bars; years where there are many. */
function periods(months) {
  if (months.length <= 24) {
    return months.map(({ month, clips }) => {
      const [year, number] = month.split("-").map(Number);
      const after = number === 12 ? [year + 1, 1] : [year, number + 1];
      return { span: [`${month}-01`, `${after[0]}-${String(after[1]).padStart(2, "0")}-01`], clips };
    });
  }
  const years = new Map();
  for (const { month, clips } of months) years.set(month.slice(0, 4), (years.get(month.slice(0, 4)) ?? 0) + clips);
  return [...years].map(([year, clips]) => ({ span: [`${year}-01-01`, `${Number(year) + 1}-01-01`], clips }));
}

function Dates({ span, facets, onSpan }) {
  const bars = useMemo(() => periods(facets?.months ?? []), [facets]);
  return html`
    <${Bars} bars=${bars} span=${span} onSpan=${onSpan} said=${daysOf} />
    <div class="pair">
      <label>from <input type="date" value=${span[0] ?? ""} onChange=${(event) => onSpan([event.target.value || null, span[1]])} /></label>
      <label>to <input type="date" value=${span[1] ? dayBefore(span[1]) : ""}
        onChange=${(event) => onSpan([span[0], event.target.value ? dayAfter(event.target.value) : null])} /></label>
    </div>`;
}

function Tags({ chosen, onTags }) {
  const { value } = useCounts("/tags");
  const tags = value?.tags ?? [];
  const toggle = (name, one) => {
    const values = toggled(chosen.find(([other]) => other === name)?.[1] ?? [], one);
    const rest = chosen.filter(([other]) => other !== name);
    onTags(values.length ? [...rest, [name, values]] : rest);
  };
  const isOn = (name, one) => chosen.some(([other, values]) => other === name && values.includes(one));
  if (!tags.length) return null;
  return html`
    <${Group} name="Tags" isOpen=${chosen.length > 0}>
      ${tags.map((tag) => html`
        <fieldset key=${tag.name}><legend class="cut">${shown(tag.name)}</legend>
          <ul class="tree">${tag.values.map((each) => html`
            <li><label class="check"><input type="checkbox" checked=${isOn(tag.name, each.value)} onChange=${() => toggle(tag.name, each.value)} />
              <span class="cut">${shown(each.value)}</span><small class="count">${count(each.clips)}<span class="unseen"> clips</span></small></label></li>`)}</ul>
          ${tag.more > 0 && html`<small>and ${count(tag.more)} more</small>`}
        </fieldset>`)}
    <//>`;
}

/** What of two paths is the same, up to a slash. */
function common(one, other) {
  let end = 0;
  for (let at = 0; at < Math.min(one.length, other.length) && one[at] === other[at]; at += 1) if (one[at] === "/") end = at + 1;
  return one.slice(0, end);
}

/** Folders as nodes of a tree: each is below the nearest one that is listed. */
function folderNodes(folders) {
  const names = new Set(folders.map((each) => each.folder));
  const parted = folders.map(({ folder, pattern, clips }) => {
    const path = [];
    let rest = folder;
    for (let end = folder.lastIndexOf("/"); end > 0; end = folder.lastIndexOf("/", end - 1)) {
      const above = folder.slice(0, end);
      if (names.has(above)) { path.unshift(rest.slice(end + 1)); rest = above; }
    }
    return { key: pattern, path: [rest, ...path], clips };
  });
  // What all have in common says nothing.
  const start = parted.length ? parted.map((node) => node.path[0]).reduce(common).length : 0;
  return parted.map((node) => ({ ...node, path: [node.path[0].slice(start), ...node.path.slice(1)] }));
}

function Order({ params }) {
  const per = readPer(params.get("per"));
  const set = (changes) => go({ per: writePer({ ...per, ...changes }) });
  const ranking = params.get("ranking") ?? "";
  const isLabelled = params.has("label") || params.has("text");
  return html`
    <div class="order">
      <label>Order by <select value=${ranking} onChange=${(event) => go({ ranking: event.target.value })}>
        ${RANKINGS.map(([value, name]) => html`<option value=${value} selected=${value === ranking} disabled=${value === "related" && isLabelled}>${name}</option>`)}</select></label>
      <label>Score from <${Typed} type="number" min="-1" max="1" step="0.05" value=${params.get("min_score") ?? ""}
        onValue=${(value) => go({ min_score: value })} /></label>
      <label>At most of a folder <select value=${per.folder} onChange=${(event) => set({ folder: Number(event.target.value) })}>
        ${[...new Set([0, 1, 2, 5, per.folder])].map((each) => html`<option value=${each} selected=${each === per.folder}>${each || "all"}</option>`)}</select></label>
      <label class="check"><input type="checkbox" checked=${per.isDistinct} onChange=${() => set({ isDistinct: !per.isDistinct })} /><span>Hide duplicates</span></label>
      <label class="check"><input type="checkbox" checked=${params.get("segments") === "true"}
        onChange=${(event) => go({ segments: event.target.checked ? "true" : null })} /><span>Moments, not clips</span></label>
    </div>`;
}

function Panel({ params, answer }) {
  const where = params.get("where");
  const [wanted, setWanted] = useState(LEAST);
  const parts = useMemo(() => readWhere(where), [where]);
  // Without a label in it, a filter does not hold the score.
  const least = parts.labels.length ? parts.least : wanted;
  const set = (changes) => go({ where: writeWhere({ ...parts, ...changes }) });
  const { value: facets, problem } = useCounts("/facets", { least });
  const labels = useMemo(() => (facets?.labels ?? []).map(({ name, path, clips }) => ({ key: name, path, clips })), [facets]);
  const folders = useMemo(() => folderNodes(facets?.folders ?? []), [facets]);
  const error = answer.state === "failed" && answer.error?.message.startsWith("filter") ? answer.error.message : "";
  const choose = (name) => (key) => set({ least, [name]: toggled(parts[name], key) });
  const setLeast = (event) => {
    setWanted(Number(event.target.value));
    if (parts.labels.length) set({ least: Number(event.target.value) });
  };
  return html`
    ${isQuestion(params) && html`<${Order} params=${params} />`}
    ${problem && html`<p class="problem" role="alert">${shown(problem)}</p>`}
    ${!facets && !problem && html`<p class="soft" role="status">Counting…</p>`}
    <${Group} name="Labels" isOpen=${true}>
      <label class="least">heard with at least <select value=${least} onChange=${setLeast}>
        ${[...new Set([...SCORES, least])].map((each) => html`<option value=${each} selected=${each === least}>${each}</option>`)}</select></label>
      <${Tree} key=${Boolean(facets)} nodes=${labels} chosen=${new Set(parts.labels)} onToggle=${choose("labels")} label="labels" />
    <//>
    ${(folders.length > 0 || parts.folders.length > 0) && html`
      <${Group} name="Folders" isOpen=${parts.folders.length > 0}>
        <${Tree} key=${Boolean(facets)} nodes=${folders} chosen=${new Set(parts.folders)} onToggle=${choose("folders")} label="folders" /><//>`}
    <${Group} name="Duration" isOpen=${parts.duration.some((each) => each !== null)}>
      <${Duration} span=${parts.duration} facets=${facets} onSpan=${(duration) => set({ duration })} /><//>
    <${Group} name="Date of the file" isOpen=${parts.modified.some((each) => each !== null)}>
      <${Dates} span=${parts.modified} facets=${facets} onSpan=${(modified) => set({ modified })} /><//>
    <${Tags} chosen=${parts.tags} onTags=${(tags) => set({ tags })} />
    <${Group} name="As text" isOpen=${parts.rest !== ""}>
      <${Typed} tag="textarea" rows="2" aria-label="Filter as text" placeholder="uri like '%/field/%' and not padded" spellcheck=${false} value=${parts.rest}
        aria-invalid=${Boolean(error)} aria-describedby=${error ? "filter-problem" : null}
        onValue=${(rest) => set({ rest })} />
      ${error && html`<p class="problem" id="filter-problem">${shown(error)}</p>`}<//>`;
}

/** @param {{address: import("./address.js").Address, answer: import("./question.js").Answer}} props */
export function Filters({ address, answer }) {
  const { isOpen } = useStore(panel);
  const [isNarrow, setNarrow] = useState(narrow.matches);
  const drawer = useRef();
  useEffect(() => {
    const update = () => setNarrow(narrow.matches);
    narrow.addEventListener("change", update);
    return () => narrow.removeEventListener("change", update);
  }, []);
  useLayoutEffect(() => { // before the next key
    if (isNarrow && isOpen && !drawer.current.open) drawer.current.showModal();
  }, [isNarrow, isOpen]);
  const close = () => panel.set({ isOpen: false });
  if (!isOpen) return null;
  const inside = html`<${Panel} params=${address.params} answer=${answer} />`;
  if (!isNarrow) return html`<aside id="filters" class="filters" aria-label="Filters">${inside}</aside>`;
  return html`
    <dialog ref=${drawer} id="filters" class="filters drawer" aria-label="Filters" onClose=${close}
      onClick=${(event) => { if (event.target === event.currentTarget) event.target.close(); }}>
      <div class="inside">${inside}<button class="done" onClick=${() => drawer.current.close()}>Show answers</button></div>
    </dialog>`;
}
