// The wave of the sound that is asked with: it plays, and a part of it can be marked.
import { Regions, WaveSurfer, html, useEffect, useRef, useState } from "./vendor.js";
import { go } from "./address.js";
import { Icon } from "./icons.js";
import { useKeys } from "./keys.js";
import { time } from "./names.js";
import { Typed } from "./typed.js";

const NONCE = document.querySelector("link[nonce]")?.nonce;
// Shorter parts are slips of the hand, seconds.
const SHORTEST = 0.05;

const coloursOf = (element) => {
  const { color, accentColor } = getComputedStyle(element);
  return { waveColor: color, progressColor: accentColor, cursorColor: accentColor };
};

/** START-END of an address as seconds; the end is null where it is the sound's. */
export function partOf(at) {
  const [start, end] = (at ?? "").split("-").map((text) => (text ? Number(text) : null));
  return { start: start ?? 0, end: end ?? null };
}

const fixed = (seconds) => String(Number(seconds.toFixed(2)));

/** Ask with a part of the sound, or with all of it. */
function mark(start, end, duration) {
  const first = Math.max(0, start), last = Math.min(duration, end);
  if (!(last - first >= SHORTEST)) return;
  const isAll = first < SHORTEST && last > duration - SHORTEST;
  go({ at: isAll ? null : `${fixed(first)}-${fixed(last)}` });
}

/**
 * The wave, without a word.
 * @param {{wave: {duration: number, peaks: number[]}, part: {start: number, end: number | null} | null,
 *   position: number | null, onSeek: (seconds: number) => void,
 *   onMark: (start: number, end: number) => void}} props
 */
export function Wave({ wave, part, position, onSeek, onMark }) {
  const box = useRef(), made = useRef(null), told = useRef({});
  const [isReady, setReady] = useState(false);
  told.current = { onSeek, onMark };
  useEffect(() => {
    const regions = Regions.create();
    const surfer = WaveSurfer.create({
      container: box.current, height: 72, cspNonce: NONCE, peaks: [wave.peaks], duration: wave.duration,
      normalize: true, cursorWidth: 2, hideScrollbar: true, plugins: [regions], ...coloursOf(box.current),
    });
    made.current = { surfer, regions, isDrawing: false };
    surfer.on("ready", () => setReady(true));
    surfer.on("interaction", (seconds) => told.current.onSeek(seconds));
    const marked = (region) => told.current.onMark(region.start, region.end);
    regions.on("region-created", (region) => {
      if (!made.current.isDrawing) marked(region);
    });
    regions.on("region-updated", marked);
    regions.enableDragSelection({ color: "var(--marked)" });
    // A canvas knows nothing of the colours that are chosen later.
    const repaint = () => surfer.setOptions(coloursOf(box.current));
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const theme = new MutationObserver(repaint);
    theme.observe(document.documentElement, { attributeFilter: ["data-theme"] });
    dark.addEventListener("change", repaint);
    return () => {
      theme.disconnect();
      dark.removeEventListener("change", repaint);
      made.current = null;
      setReady(false);
      surfer.destroy();
    };
  }, [wave]);
  useEffect(() => {
    if (!isReady) return; // before that nothing of it has a length
    const now = made.current;
    now.regions.clearRegions();
    if (!part) return;
    now.isDrawing = true; // what the address says is no mark of a person's
    now.regions.addRegion({ start: part.start, end: part.end ?? wave.duration, color: "var(--marked)" });
    now.isDrawing = false;
  }, [isReady, wave, part?.start, part?.end]);
  useEffect(() => { made.current.surfer.setTime(position ?? 0); }, [wave, position]);
  return html`<div class="wave" ref=${box}></div>`;
}

/**
 * The wave with what marks a part of it by keys, and plays. Where `isWaved`, a wave that is not there yet
 * has its place: what is below it stays under the pointer.
 */
export function Marking({ address, wave, isWaved, duration, position, isPlaying, onPlay, onStop }) {
  const at = address.params.get("at");
  const { start, end } = partOf(at);
  const until = end ?? duration;
  const [now, setNow] = useState({ start, until });
  useEffect(() => { setNow({ start, until }); }, [at, duration]);
  const change = (changes) => {
    const next = { ...now, ...changes };
    setNow(next);
    mark(next.start, next.until, duration);
  };
  useKeys([
    { keys: ["["], help: "The part begins here", run: () => position !== null && change({ start: position }) },
    { keys: ["]"], help: "The part ends here", run: () => position !== null && change({ until: position }) },
    { keys: ["p"], help: "Play the question", run: () => (isPlaying ? onStop() : onPlay(start, end)) },
  ]);
  const number = (name, label) => html`
    <label>${label} <${Typed} type="number" min="0" max=${fixed(duration)} step="0.01" value=${fixed(now[name])}
      onValue=${(value) => value && change({ [name]: Number(value) })} /></label>`;
  return html`
    ${wave ? html`<${Wave} wave=${wave} part=${at ? { start, end } : null} position=${position}
      onSeek=${(seconds) => onPlay(seconds, null)} onMark=${(first, last) => mark(first, last, duration)} />`
      : isWaved && html`<div class="wave"></div>`}
    <div class="marking" role="group" aria-label="Part of the sound">
      <button type="button" aria-label=${isPlaying ? "Stop the question" : at ? "Play the part" : "Play the question"}
        onClick=${() => (isPlaying ? onStop() : onPlay(start, end))}><${Icon} name=${isPlaying ? "pause" : "play"} /></button>
      ${number("start", "From")} ${number("until", "to")}
      <span class="soft time">of ${time(duration)}${wave && wave.duration < duration - 1 && `, shown to ${time(wave.duration)}`}</span>
      ${at && html`<button type="button" onClick=${() => go({ at: null })}>All of it</button>`}
    </div>`;
}
