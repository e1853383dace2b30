// The spectrogram of a clip, with its axes, what plays, and the moment that is meant.
import { html, useEffect, useRef, useState } from "./vendor.js";
import { blob } from "./api.js";
import { clipOf } from "./clips.js";
import { nameOf, shown, time } from "./names.js";
import { play, usePosition } from "./player.js";

// Of the picture: mel (HTK), as the API draws it.
const LOWEST = 50, HIGHEST = 8000;
export const TICKS = [100, 500, 1000, 2000, 4000, 8000];
// A longer clip is drawn about its moment, seconds.
const LONGEST = 30;
const HEIGHT = 128;
// How long a clip is meant until it is drawn, milliseconds: keys pass over many.
const STAYED = 60;

const mel = (hertz) => 1127 * Math.log1p(hertz / 700);
export const heightOf = (hertz) => (mel(hertz) - mel(LOWEST)) / (mel(HIGHEST) - mel(LOWEST));

/** Steps of an axis of time that gives five to ten ticks. */
function stepOf(seconds) {
  const power = 10 ** Math.floor(Math.log10(seconds / 5));
  return [1, 2, 5, 10].map((each) => each * power).find((each) => seconds / each <= 8);
}

/** The part of a clip that is drawn: all, or about a moment. */
export function partOf(duration, { start, end }) {
  if (duration <= LONGEST) return [0, duration];
  const middle = (start + Math.min(end ?? start, start + LONGEST)) / 2;
  const from = Math.max(0, Math.min(duration - LONGEST, middle - LONGEST / 2));
  return [from, from + LONGEST];
}

function Head({ id, from, until }) {
  const at = usePosition(({ clip }) => (clip?.clip_id ?? clip?.id) === id);
  if (at === null || at < from || at > until) return null;
  return html`<i class="head" style=${{ left: `${(100 * (at - from)) / (until - from)}%` }}></i>`;
}

/**
 * @param {{row: import("./question.js").Row}} props the moment of the row is marked; a click plays from
 *   where it is
 */
export function Spectrogram({ row }) {
  const box = useRef();
  const [found, setFound] = useState({});
  const id = row.clip_id;
  useEffect(() => {
    const stop = new AbortController(), { signal } = stop;
    let source = null;
    const load = async () => {
      const { duration } = row.duration ? row : await clipOf(id);
      const [from, until] = partOf(duration, row);
      // Steps of width: a window that is drawn larger by a few pixels gets the same picture.
      const width = Math.min(2000, Math.ceil((box.current.clientWidth * devicePixelRatio) / 200) * 200) || 200;
      const params = { at: `${from.toFixed(3)}-${until.toFixed(3)}`, width, height: HEIGHT };
      source = URL.createObjectURL(await blob("GET", `/clips/${id}/spectrogram`, { params, signal }));
      setFound({ source, from, until, row });
    };
    const timer = setTimeout(() => {
      load().catch((problem) => { if (!signal.aborted) setFound({ problem, row }); });
    }, STAYED);
    return () => {
      clearTimeout(timer);
      stop.abort();
      if (source) URL.revokeObjectURL(source);
    };
  }, [row]);
  const { source, from, until, problem } = found.row === row ? found : {};
  const share = (seconds) => `${(100 * (seconds - from)) / (until - from)}%`;
  const step = source && stepOf(until - from);
  const ticks = source ? Array.from({ length: 12 }, (_, at) => (Math.ceil(from / step) + at) * step)
    .filter((each) => each <= until - (until - from) / 20) : []; // its text is to the right of it
  const playFrom = (event) => {
    const { left, width } = event.currentTarget.getBoundingClientRect();
    play(row, { start: from + ((event.clientX - left) / width) * (until - from) });
  };
  const isPart = source && (row.start > from || (row.end ?? until) < until);
  return html`
    <div class="spectrogram">
      <div class="hertz" aria-hidden="true">${TICKS.map((each) => html`
        <span style=${{ bottom: `${100 * heightOf(each)}%` }}>${each >= 1000 ? `${each / 1000}k` : each}</span>`)}
        <span class="unit">Hz</span></div>
      <div class="drawn" ref=${box} onClick=${source && playFrom}>
        ${source && html`
          <img src=${source} draggable=${false} alt=${`Spectrogram of ${nameOf(row.uri)}, ${time(from)} to ${time(until)}, 50 to 8000 Hz`} />
          ${isPart && html`<i class="part" style=${{ left: share(row.start), right: `calc(100% - ${share(Math.min(until, row.end))})` }}></i>`}
          <${Head} key=${id} id=${id} from=${from} until=${until} />`}
        ${problem && html`<p class="problem" role="alert">${shown(problem.message)}</p>`}
      </div>
      <div class="seconds" aria-hidden="true">${ticks.map((each) => html`
        <span style=${{ left: share(each) }}>${time(each, step < 1 ? 1 : 0)}</span>`)}</div>
    </div>`;
}
