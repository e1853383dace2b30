// Asking: one box, and what was made of the question.
import { html, useEffect, useLayoutEffect, useState } from "./vendor.js";
import { go, href } from "./address.js";
import { api } from "./api.js";
import { askWith, asking } from "./asking.js";
import { Box } from "./box.js";
import { Heard, Labels, Words } from "./heard.js";
import { Icon } from "./icons.js";
import { folderOf, nameOf, shown } from "./names.js";
import { play, player, stop, usePosition } from "./player.js";
import { isQuestion, tries } from "./question.js";
import { Record } from "./record.js";
import { useStore } from "./store.js";
import { soundOf, urlOf } from "./uploads.js";
import { Marking } from "./wave.js";

// Of a longer clip the wave of the first hour is shown.
const HOUR = 3600;
const WIDTH = 1200;

/** Waves of sounds that were asked with, which answers to parts of them may lack. */
const waves = new Map();

/** What comes of a promise that is made anew with each key; an error is `problem`. */
function useFound(key, make) {
  const [found, setFound] = useState({ key: null });
  useEffect(() => {
    if (key === null) return undefined;
    const gone = new AbortController();
    make(gone.signal).then(
      (value) => { if (!gone.signal.aborted) setFound({ key, value }); },
      (error) => { if (!gone.signal.aborted) setFound({ key, problem: error.message }); },
    );
    return () => gone.abort();
  }, [key]);
  return found.key === key ? found : { key: null };
}

/** The sound or clip that is asked with: its name, wave and what is heard when. */
function useAsked({ params }, answer) {
  const digest = params.get("sound"), name = params.get("clip");
  const given = new URLSearchParams(answer.key);
  const isOf = answer.state !== "failed" && given.get("sound") === digest && given.get("clip") === name;
  const clip = isOf ? answer.clip : null;
  if (digest && isOf && answer.heard?.wave && !waves.has(digest)) waves.set(digest, answer.heard.wave);
  const { count } = useStore(tries);
  const file = useFound(digest && `${digest} ${count}`, () => soundOf(digest));
  const drawn = useFound(clip && !digest ? clip.id : null, (signal) => {
    const at = clip.duration > HOUR ? `0-${HOUR}` : null;
    return Promise.all([
      api.get(`/clips/${clip.id}/peaks`, { width: WIDTH, at }, { signal }).catch((error) => ({ problem: error.message })),
      api.get(`/clips/${clip.id}/events`, {}, { signal }).catch(() => ({ events: [] })),
    ]);
  });
  const labels = isOf ? answer.labels : [];
  if (file.problem) return null; // which the answer says
  if (digest) {
    const wave = waves.get(digest) ?? null;
    const events = isOf ? answer.heard?.events ?? [] : [];
    return { key: `sound ${digest}`, title: file.value && shown(file.value.name), folder: "", wave, duration: wave?.duration,
      labels, events, digest };
  }
  if (!clip) return null;
  const [wave, { events }] = drawn.value ?? [null, { events: [] }];
  return { key: `clip ${clip.id}`, title: nameOf(clip.uri), folder: folderOf(clip.uri), wave: wave?.peaks ? wave : null,
    problem: wave?.problem, duration: clip.duration, labels, events, clip };
}

function Sound({ address, asked }) {
  const isMine = ({ clip }) => clip?.asked === asked.key;
  const position = usePosition(isMine);
  const { state, clip } = useStore(player);
  const isPlaying = clip?.asked === asked.key && (state === "playing" || state === "loading");
  const listen = async (start, end) => {
    const what = asked.digest ? { url: await urlOf(asked.digest), name: asked.title } : { clip_id: asked.clip.id, uri: asked.clip.uri };
    play({ ...what, asked: asked.key }, { start, end });
  };
  return html`
    <section class="sound" aria-label="The sound that is asked with">
      <p class="title"><b class="cut">${asked.title ?? "…"}</b> <small class="cut">${asked.folder}</small>
        ${asked.clip && html`<a href=${`/clip/${asked.clip.id}`}>Open</a>`}
        <button class="plain" aria-label="Leave out the sound" title="Leave it out" onClick=${() => go({ sound: null, clip: null, at: null })}><${Icon} name="close" /></button></p>
      ${asked.problem && html`<p class="soft">${shown(asked.problem)}</p>`}
      ${asked.duration > 0 && html`<${Marking} address=${address} wave=${asked.wave} isWaved=${!asked.problem} duration=${asked.duration}
        position=${position} isPlaying=${isPlaying} onPlay=${listen} onStop=${stop} />`}
      <${Heard} labels=${asked.labels} events=${asked.events} />
    </section>`;
}

function Sending({ sent }) {
  return html`<p class="sending" role="status">
    <progress max="1" value=${sent} aria-label="Sent"></progress> ${Math.round(100 * sent)} %
    <button onClick=${() => go({ sound: null, at: null }, { replace: true })}>Cancel</button></p>`;
}

const short = (name) => name.split(/[,(/]/)[0].trim().toLowerCase();

/** What the library can be asked for, where nothing is. */
function Examples() {
  const { value } = useFound("examples", (signal) => api.get("/examples", {}, { signal }));
  if (!value?.labels.length) return null;
  const [one, other] = value.labels.map(({ name }) => short(name));
  const chip = (changes, text, note) => html`
    <a class="chip" href=${href(changes, { path: "/" })}>${text} <small>${note}</small></a> `;
  return html`
    <nav class="examples" aria-label="Examples">
      ${value.labels.map(({ name, clips }) => chip({ label: name }, shown(name), clips))}
      ${other && chip({ text: `${one} or ${other}` }, `“${shown(one)} or ${shown(other)}”`, "")}
      ${value.clips.map(({ id, uri }) => chip({ clip: id }, nameOf(uri), "♪"))}
    </nav>`;
}

/** @param {{address: import("./address.js").Address, answer: import("./question.js").Answer}} props */
export function Ask({ address, answer }) {
  const { params } = address;
  const { problem, isReading } = useStore(asking);
  const [isBeside, setBeside] = useState(false);
  const asked = useAsked(address, answer);
  const labels = params.getAll("label");
  const isAlone = !asked && !params.has("like"); // then the box says it
  const isSending = answer.state === "loading" && answer.sent !== null && answer.sent < 1;
  useLayoutEffect(() => { asking.set({ problem: "" }); }, [params.toString()]);
  const pick = (event) => {
    askWith([...event.target.files]);
    event.target.value = "";
  };
  return html`
    <div class="ask">
      <${Box} address=${address} isBeside=${isBeside && asked} />
      <label class="pick button">File…<input type="file" class="unseen" aria-label="Ask with a file" accept="audio/*,video/*,*/*" onChange=${pick} /></label>
      <${Record} />
      ${asked && html`<label><input type="checkbox" checked=${isBeside} onChange=${() => setBeside(!isBeside)} /> beside the sound</label>`}
    </div>
    ${problem && html`<p class="problem" role="alert">${shown(problem)}</p>`}
    ${isReading && html`<p class="soft" role="status">Reading the file…</p>`}
    ${isSending && html`<${Sending} sent=${answer.sent} />`}
    ${asked && html`<${Sound} key=${asked.key} address=${address} asked=${asked} />`}
    ${labels.length > (isAlone ? 1 : 0) && html`<${Labels} labels=${labels} />`}
    ${params.has("text") && answer.words && html`<${Words} address=${address} words=${answer.words} />`}
    ${!isQuestion(params) && html`<${Examples} />`}`;
}
