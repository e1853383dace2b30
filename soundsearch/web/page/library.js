// The view of "/library": what the library holds, an ingest and how far it is, and what failed.
import { html, useEffect, useState } from "./vendor.js";
import { api } from "./api.js";
import { Ingest } from "./ingesting.js";
import { Nothing, refresh, useLibrary } from "./library_state.js";
import { count, folderOf, lasting, nameOf, shown } from "./names.js";
import { forget } from "./question.js";

// Failures that are asked for at once.
const PAGE = 50;
const UNITS = ["bytes", "kB", "MB", "GB", "TB"];

/** A number of bytes, as 1.2 GB. */
function sized(bytes) {
  const power = bytes < 1000 ? 0 : Math.min(UNITS.length - 1, Math.floor(Math.log10(bytes) / 3));
  return `${power ? (bytes / 1000 ** power).toFixed(1) : bytes} ${UNITS[power]}`;
}

function factsOf(info) {
  const facts = [
    ["Clips", count(info.clips)],
    ["Sound", `about ${lasting(info.segments * info.hop)}, in ${count(info.segments)} segments`],
    ["Encoder", `${info.encoder}, ${info.dimension} numbers a segment (space ${info.space})`],
    ["Labels", info.head ? `by a head of its own, ${count(info.head.classes?.length ?? info.head.classes ?? 0)} classes` : "by the encoder’s own head"],
    ["Place", info.store],
  ];
  if (info.bytes !== null) facts.push(["On disk", sized(info.bytes)]);
  if (info.key) facts.push(["Key", `the tag ${info.key}`]);
  return facts;
}

function Failures({ total, times }) {
  const [found, setFound] = useState({ rows: [], error: null, isBusy: false });
  const load = (from, signal) => {
    setFound((now) => ({ ...now, isBusy: true }));
    return api.get("/failures", { offset: from, limit: PAGE }, { signal }).then(
      ({ failures, total: all }) => setFound((now) => ({
        rows: [...now.rows.slice(0, from), ...failures], all, error: null, isBusy: false })),
      (error) => { if (!signal?.aborted) setFound((now) => ({ ...now, error, isBusy: false })); },
    );
  };
  useEffect(() => {
    const stop = new AbortController();
    if (total) load(0, stop.signal);
    else setFound({ rows: [], error: null, isBusy: false });
    return () => stop.abort();
  }, [total, times]);
  if (!total) return null;
  const { rows, all = total, error, isBusy } = found;
  return html`
    <section aria-labelledby="failed" class="failures">
      <h2 id="failed">Files that could not be ingested <small>${count(all)}</small></h2>
      ${error && html`<p class="problem" role="alert">${shown(error.message)}</p>`}
      <ul aria-busy=${isBusy}>${rows.map(({ uri, reason }) => html`
        <li key=${uri}>
          <span class="where"><b>${nameOf(uri)}</b> <small>${folderOf(uri)}</small></span>
          <span>${shown(reason)}</span>
        </li>`)}</ul>
      ${rows.length < all && html`
        <button class="more" disabled=${isBusy} onClick=${() => load(rows.length)}>More</button>`}
    </section>`;
}

/** @param {{address: import("./address.js").Address}} props */
export default function View() {
  const { info, problem, isEmpty } = useLibrary();
  const [times, setTimes] = useState(0);
  useEffect(() => { document.title = "Library – soundsearch"; refresh(); }, []);
  const changed = () => {
    forget();
    refresh().then(() => setTimes((before) => before + 1));
  };
  return html`
    <main class="library">
      <h1>Library</h1>
      ${problem && !isEmpty && html`<p class="problem" role="alert">${shown(problem.message)}</p>`}
      ${isEmpty ? html`<${Nothing} />` : info && html`
        <dl class="facts">${factsOf(info).map(([name, value]) => html`
          <div key=${name}><dt>${name}</dt><dd>${shown(value)}</dd></div>`)}</dl>`}
      <${Ingest} isEmpty=${isEmpty} onChange=${changed} />
      <${Failures} total=${info?.failures ?? 0} times=${times} />
    </main>`;
}
