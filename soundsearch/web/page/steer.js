// What steers a question: more like this, not this; and what is done with a row.
import { html } from "./vendor.js";
import { QUESTION, go, href, useAddress } from "./address.js";
import { FilterChips } from "./chips.js";
import { useClip } from "./clips.js";
import { Icon } from "./icons.js";
import { isKept, toggleKept, tray } from "./keeping.js";
import { nameOf, shown } from "./names.js";
import { say } from "./notice.js";
import { panel } from "./panel.js";
import { askAgain } from "./question.js";
import { useStore } from "./store.js";
import { copy, fileName, saveRow, soundUrl } from "./taking.js";
import { toggled } from "./where.js";

const NEEDS = "Not this: needs an example first (m)";
// What limits an answer, whatever is asked.
const LIMITS = ["where", "min_score", "per", "ranking", "segments"];

/** Ask for what is like a row and nothing else, among the same clips. */
export function askWith(row) {
  const rest = QUESTION.filter((name) => !LIMITS.includes(name)).map((name) => [name, null]);
  go({ ...Object.fromEntries(rest), clip: row.clip_id }, { path: "/" });
  askAgain();
  scrollTo(0, 0);
}

/** Clips by id, of what the page has seen. @type {Map<string, string>} */
const uris = new Map();

const given = () => new URLSearchParams(location.pathname === "/" ? location.search : "");

/** Whether a question has something that examples against can be taken from. */
const isSteerable = (params) => ["sound", "clip", "like"].some((name) => params.has(name));

/** Make a row an example for ("like") or against ("unlike"), or none if it was. */
function steer(row, name) {
  const id = String(row.clip_id), other = name === "like" ? "unlike" : "like";
  const params = given();
  uris.set(id, row.uri);
  const others = params.getAll(other).filter((each) => each !== id);
  go(kept(params, { [name]: toggled(params.getAll(name), id), [other]: others }), { path: "/" });
}

/** Changes of a question; without any example for, those against go as well. */
function kept(params, changes) {
  const isLast = ["sound", "clip"].every((name) => !params.has(name)) && changes.like?.length === 0;
  return isLast ? { ...changes, unlike: [] } : changes;
}

/** What keys do with the selected row. */
export const actionKeys = (row) => [
  { keys: ["m"], help: "More like this", run: () => steer(row, "like") },
  { keys: ["n"], help: "Not this", run: () => (isSteerable(given()) ? steer(row, "unlike") : say(NEEDS)) },
  { keys: ["t"], help: "Put into the tray, or take it out", run: () => toggleKept(row) },
  { keys: ["d"], help: "Save the moment as WAV", run: () => saveRow(row) },
  { keys: ["c"], help: "Copy its path", run: () => copy(row.uri) },
];

function Act({ mark, label, help, onAct, ...rest }) {
  const run = (event) => { event.stopPropagation(); onAct(); };
  return html`<button class="plain" tabindex="-1" aria-label=${label} title=${help ?? label} onClick=${run} ...${rest}><${Icon} name=${mark} /></button>`;
}

/** What is seen of a row's buttons until one is near: of a thousand rows they would be most of the page. */
export function Kept({ row }) {
  return useStore(tray, () => isKept(row)) && html`<${Icon} name="kept" />`;
}

/** Buttons of a row. @param {{row: import("./question.js").Row}} props */
export function Actions({ row }) {
  const { params, view } = useAddress();
  const isIn = useStore(tray, () => isKept(row));
  const id = String(row.clip_id);
  const is = (name) => view === "ask" && params.getAll(name).includes(id);
  const isSteered = view === "ask" && isSteerable(params);
  return html`
    <${Act} mark="more" label="More like this" help="More like this (m)" aria-pressed=${is("like")} onAct=${() => steer(row, "like")} />
    <${Act} mark="less" label="Not this" help=${isSteered ? "Not this (n)" : NEEDS} aria-pressed=${is("unlike")}
      disabled=${!isSteered} onAct=${() => steer(row, "unlike")} />
    <${Act} mark="similar" label="Similar" help="Similar (Enter)" onAct=${() => askWith(row)} />
    <${Act} mark=${isIn ? "kept" : "tray"} label="In the tray" help="Keep in the tray (t)" aria-pressed=${isIn} onAct=${() => toggleKept(row)} />
    <a class="plain" tabindex="-1" href=${soundUrl(row)} download=${fileName(row)} aria-label="Save as WAV" title="Save the moment as WAV (d); or drag the row out"
      onClick=${(event) => event.stopPropagation()}><${Icon} name="save" /></a>
    <${Act} mark="copy" label="Copy path" help="Copy its path (c)" onAct=${() => copy(row.uri)} />`;
}

/** What an example is called: names of clips that the page has not seen are asked for. */
function useName(example) {
  const known = /^\d+$/.test(example) ? uris.get(example) : example;
  const clip = useClip(known === undefined ? example : null);
  return known ?? clip?.uri;
}

function Example({ example, name, params }) {
  const uri = useName(example);
  const is = name === "like" ? "More like" : "Not like";
  const text = uri === undefined ? example : nameOf(uri);
  const rest = params.getAll(name).filter((each) => each !== example);
  return html`
    <li class=${`chip ${name}`} title=${shown(uri ?? "")}><${Icon} name=${name === "like" ? "more" : "less"} />
      <span class="unseen">${is} </span><span class="cut">${text}</span>
      <button class="plain" aria-label=${`Remove: ${is.toLowerCase()} ${text}`} onClick=${() => go(kept(params, { [name]: rest }))}><${Icon} name="close" /></button></li>`;
}

/** @param {{address: import("./address.js").Address, answer: import("./question.js").Answer}} props */
export function Steer({ address, answer }) {
  const { params } = address;
  const { isOpen } = useStore(panel);
  for (const row of answer.rows) uris.set(String(row.clip_id), row.uri);
  const examples = ["like", "unlike"].flatMap((name) => params.getAll(name).map((example) => ({ name, example })));
  const isIdle = answer.state === "idle";
  return html`
    <div class="steer">
      <button aria-expanded=${isOpen} aria-controls="filters" onClick=${() => panel.set({ isOpen: !isOpen })}><${Icon} name="filter" /> Filters</button>
      ${isIdle && html`<a class="button" href=${href({ all: 1 }, { path: "/" })}>All clips</a>`}
      <ul class="chips" aria-label="Examples and filters">
        ${examples.map((each) => html`<${Example} key=${`${each.name} ${each.example}`} ...${each} params=${params} />`)}
        <${FilterChips} params=${params} />
      </ul>
    </div>`;
}
