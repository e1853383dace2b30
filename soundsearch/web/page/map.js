// The map: clips near each other where they sound alike.
import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from "./vendor.js";
import { go, href } from "./address.js";
import { coloursBy, wordsOf } from "./columns.js";
import { useKeys } from "./keys.js";
import { Legend, useDark } from "./maplegend.js";
import { MapList } from "./maplist.js";
import { rowOf, useMap } from "./mapload.js";
import { cornersOf, lassoText, viewOf, viewText } from "./mapplace.js";
import { Plot } from "./mapplot.js";
import { counted, nameOf, shown } from "./names.js";
import { mayPlay, play, player, stop, toggle } from "./player.js";
import { isQuestion, useAnswer } from "./question.js";
import { saved, selection } from "./store.js";
import { HIDDEN } from "./scatter.js";

const style = document.createElement("link");
Object.assign(style, { rel: "stylesheet", href: "/page/map.css" });
await new Promise((resolve) => {
  style.onload = style.onerror = resolve;
  document.head.append(style);
});

const METHODS = { tsne: "t-SNE", umap: "UMAP", pca: "PCA" };
const STEPS = { asking: "", waiting: "Another map is being made", reading: "Reading clips", placing: "Laying out" };
const NOTHING = { params: new URLSearchParams() };
const PAN = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

const now = (changes) => go(changes, { replace: true });

function Progress({ step, hasMap }) {
  const text = STEPS[step.step] ?? "";
  if (!text) return null;
  return html`
    <div class="making" role="status">
      <span>${hasMap ? "The library has changed. " : ""}${text}…</span>
      <progress value=${step.share || null} max="1" aria-label=${text}></progress>
    </div>`;
}

function Search({ value }) {
  const timer = useRef(0);
  const [draft, setDraft] = useState(null); // whatever is drawn meanwhile
  const typed = (event) => {
    const find = event.target.value;
    setDraft(find);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => { setDraft(null); now({ find }); }, 150);
  };
  useEffect(() => () => clearTimeout(timer.current), []);
  return html`
    <label class="field"><span>Find</span>
      <input type="search" placeholder="Name, label, tag" autocomplete="off" spellcheck=${false}
        value=${draft ?? value} onInput=${typed} /></label>`;
}

function Tools({ scatter, isLassoing, setLassoing, hears, setHears, onView }) {
  return html`
    <div class="tools" role="toolbar" aria-label="Map">
      <button aria-label="Zoom in" title="Zoom in (+)" onClick=${() => scatter.zoomBy(1.6)}>+</button>
      <button aria-label="Zoom out" title="Zoom out (-)" onClick=${() => scatter.zoomBy(1 / 1.6)}>−</button>
      <button aria-label="Show all" title="Show all (0)" onClick=${() => scatter.fit()}>⤢</button>
      <button aria-pressed=${isLassoing} title="Draw around clips (l, or hold Shift)" onClick=${() => setLassoing(!isLassoing)}>Lasso</button>
      <button title="List the clips that are in view (v)" onClick=${onView}>In view</button>
      <button aria-pressed=${hears} title="Play what is pointed at (p)" onClick=${() => setHears(!hears)}>Hover plays</button>
    </div>`;
}

/** The map that is there. @param {{map: import("./mapload.js").ClipMap}} props */
function Shown({ map, address, answer, step }) {
  const { params } = address;
  const [scatter, setScatter] = useState(null);
  const [isLassoing, setIsLassoing] = useState(false);
  const [hears, setHears] = useState(() => saved.get("map hover") !== "off");
  const [marked, setIsMarked] = useState(-1);
  const latest = useRef(-1); // of keys that come faster than the page is drawn
  const setMarked = (point) => { latest.current = point; setIsMarked(point); };
  const heard = useRef(-1), timer = useRef(0), written = useRef(params.get("view"));
  const dark = useDark(), texts = useRef(null);

  // Colours. What the plot is told it is told at once: the pointer or a key may be faster than a frame.
  const column = map.columns.find((each) => each.key === params.get("by")) ?? map.columns[0];
  const palette = map.colours[dark ? "dark" : "light"];
  const { kinds, legend } = useMemo(() => coloursBy(column, palette.length - 2), [map, column.key]);
  const hide = params.get("hide") ?? "";
  const hidden = useMemo(() => new Set(hide.split(",").filter(Boolean).map(Number)), [hide]);
  useLayoutEffect(() => {
    scatter?.colour(kinds.map((kind) => (hidden.has(kind) ? HIDDEN : kind)));
  }, [scatter, kinds, hidden]);
  useLayoutEffect(() => {
    scatter?.paint(palette, getComputedStyle(document.body).color);
  }, [scatter, palette]);

  // What is meant: by words, a lasso, a question.
  const find = params.get("find") ?? "", lasso = params.get("lasso") ?? "";
  const corners = useMemo(() => cornersOf(lasso), [lasso]);
  const meant = useMemo(() => {
    const words = wordsOf(find);
    if (!scatter || !(words.length || corners)) return null;
    const all = corners ? scatter.inside(corners, () => true) : Array.from(map.ids.keys());
    if (!words.length) return all;
    texts.current ??= Array.from(map.ids, (_, point) => map.textOf(point));
    return all.filter((point) => words.every((word) => texts.current[point].includes(word)));
  }, [scatter, find, corners]);
  const listed = useMemo(() => meant?.filter((point) => !hidden.has(kinds[point])), [meant, hidden, kinds]);
  const hits = useMemo(() => new Map(answer.rows.map((row) => [map.pointOf(row.clip_id), row])), [map, answer.rows]);
  const asked = ["clip", "like"].flatMap((name) => params.getAll(name)).map(map.pointOf).filter((each) => each >= 0);
  useLayoutEffect(() => {
    const bright = meant && new Uint8Array(map.count);
    meant?.forEach((point) => { bright[point] = 1; });
    scatter?.highlight(bright);
  }, [scatter, meant]);
  useLayoutEffect(() => {
    scatter?.ring([...hits.keys()].filter((point) => point >= 0));
  }, [scatter, hits]);

  // What is picked, by a click or in the list.
  const picked = params.has("pick") ? map.pointOf(params.get("pick")) : -1;
  useLayoutEffect(() => setMarked(picked >= 0 ? picked : asked[0] ?? -1), [picked, asked.join()]);
  useEffect(() => selection.watch(({ row }) => {
    const point = row ? map.pointOf(row.clip_id) : -1;
    if (point >= 0) setMarked(point);
  }), [map]);
  useLayoutEffect(() => scatter?.mark(marked), [scatter, marked]);
  const rowAt = (point) => hits.get(point) ?? rowOf(map, point);
  const hear = (point) => {
    const row = hits.get(point);
    heard.current = point;
    // A moment that matched, or the clip as it is, which needs no conversion.
    play(rowAt(point), row ? { start: row.start, end: row.end } : {});
  };
  const pick = (point, isHeard = true) => {
    if (point < 0) return now({ pick: null });
    const isOn = player.value.clip?.clip_id === map.ids[point] && heard.current < 0;
    now({ pick: map.ids[point] });
    if (isHeard && isOn) toggle();
    else if (isHeard && player.value.clip?.clip_id !== map.ids[point]) hear(point);
    heard.current = -1;
    return undefined;
  };

  // What the address says of the view, and what it is told.
  const view = params.get("view");
  useLayoutEffect(() => {
    if (!scatter || (view === written.current && view === null)) return;
    written.current = view;
    const place = viewOf(view);
    if (place) scatter.look(place);
    else scatter.fit();
  }, [scatter, view === written.current]);
  useEffect(() => () => clearTimeout(timer.current), []);
  const viewed = () => {
    clearTimeout(timer.current);
    timer.current = setTimeout(() => {
      if (!scatter) return;
      written.current = viewText(scatter);
      if (written.current !== view) now({ view: written.current });
    }, 300);
  };
  const lassoed = (line) => {
    setLassoing(false);
    go({ lasso: lassoText(line, scatter.view.zoom), pick: null });
  };
  const setLassoing = (is) => { scatter.lassoing(is); setIsLassoing(is); };
  const setHearing = (is) => {
    setHears(is);
    saved.set("map hover", is ? "on" : "off");
  };

  const move = ([across, down]) => {
    const from = latest.current;
    const to = from >= 0 ? scatter.beside(from, -across, down) : scatter.middle();
    if (to < 0) return;
    setMarked(to);
    now({ pick: map.ids[to] });
    scatter.show(to);
    if (hears) hear(to);
    heard.current = -1;
  };
  useKeys([
    { keys: ["+", "="], help: "Zoom in", run: () => scatter.zoomBy(1.3) },
    { keys: ["-"], help: "Zoom out", run: () => scatter.zoomBy(1 / 1.3) },
    { keys: ["0"], help: "Show all of the map", run: () => scatter.fit() },
    { keys: ["l"], help: "Draw around clips", run: () => setLassoing(!isLassoing) },
    { keys: ["v"], help: "List what is in view", run: () => lassoed(scatter.frame()) },
    { keys: ["p"], help: "Whether what is pointed at plays", run: () => setHearing(!hears) },
  ]);
  // Of the map itself; in a list these keys are the list's.
  const keys = {
    " ": () => latest.current >= 0 && pick(latest.current),
    Enter: () => latest.current >= 0 && go({ clip: map.ids[latest.current] }, { path: "/" }),
    Escape: () => {
      scatter.cancel();
      if (isLassoing) setLassoing(false);
      else if (player.value.state === "playing") stop();
      else if (lasso) go({ lasso: null });
      else now({ pick: null });
    },
  };
  const press = (event) => {
    const pan = PAN[event.key];
    if (pan && event.shiftKey) scatter.panBy(60 * pan[0], 60 * pan[1]);
    else if (pan) move(pan);
    else if (event.key in keys) keys[event.key]();
    else return false;
    return true;
  };

  const on = {
    scatter: setScatter, view: viewed, pick, lasso: lassoed, key: press,
    hear: (point) => { if (hears && mayPlay()) hear(point); },
    quiet: () => { if (heard.current >= 0) stop(); heard.current = -1; },
  };
  const said = marked >= 0 ? `${nameOf(map.uriOf(marked))}. ${shown(map.labelsText(marked))}` : "";
  const about = map.total > map.count ? `${counted(map.count, "clip")} of ${map.total.toLocaleString("en")}`
    : counted(map.count, "clip");
  return html`
    <${Plot} map=${map} on=${on} label=${`Map of ${about}`}>
      ${scatter && html`<${Tools} scatter=${scatter} isLassoing=${isLassoing} setLassoing=${setLassoing}
        hears=${hears} setHears=${setHearing} onView=${() => lassoed(scatter.frame())} />`}
      ${step && html`<${Progress} step=${step} hasMap=${true} />`}
    <//>
    <section class="mapside" aria-label="Clips">
      <p class="soft">${about} by${" "}
        <select aria-label="Laid out by" onChange=${(event) => go({ method: event.target.value, view: null, lasso: null })}>
          ${Object.entries(METHODS).map(([value, name]) => html`
            <option value=${value} selected=${value === map.method}>${name}</option>`)}
        </select></p>
      ${map.warning && html`<p class="soft">${shown(map.warning)}</p>`}
      <${Search} value=${find} />
      <${Legend} columns=${map.columns} column=${column} legend=${legend} palette=${palette} hidden=${hidden}
        onColumn=${(by) => now({ by, hide: null })} onHide=${(kinds) => now({ hide: kinds.join() })} />
      <p class="unseen" role="status">${said}</p>
      <${MapList} map=${map} points=${listed ?? null} lasso=${lasso} find=${find} answer=${answer}
        picked=${picked} params=${params} />
    </section>`;
}

export default function View({ address }) {
  const { params } = address;
  const where = params.get("where"), method = params.get("method");
  const { map, step, error } = useMap(where, method);
  const answer = useAnswer(isQuestion(params) ? address : NOTHING);
  useEffect(() => { document.title = "Map – soundsearch"; }, []);
  return html`
    <main class="mapview">
      <h1 class="unseen">Map</h1>
      ${where && html`<p class="mapwhere">Only clips where <code>${shown(where)}</code>${" "}
        <a href=${href({ where }, { path: "/" })}>Change</a>${" "}
        <a href=${href({ where: null, view: null, lasso: null })}>Show all</a></p>`}
      ${error && html`<p class="problem" role="alert">${shown(error.message)}</p>`}
      ${map && map.count > 0 && html`<${Shown} key=${`${map.key} ${map.tag}`} map=${map} address=${address} answer=${answer} step=${step} />`}
      ${map && !map.count && html`<p class="soft" role="status">No clips${where ? " match the filter" : " yet"}.</p>`}
      ${!map && step && html`<div class="plot"><${Progress} step=${step} hasMap=${false} /></div>`}
    </main>`;
}
