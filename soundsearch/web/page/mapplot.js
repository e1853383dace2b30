// The plot of a map: clips as points that are pointed at, played, picked and lassoed.
import { html, useEffect, useLayoutEffect, useRef, useState } from "./vendor.js";
import { createScatter } from "./scatter.js";
import { clock, several } from "./columns.js";
import { nameOf, shown } from "./names.js";

// A pointer that only passes plays nothing, and one that left may come back; milliseconds.
const PASSES = 70, LEAVES = 250;

/** @param {{map: import("./mapload.js").ClipMap, point: number}} props */
function Facts({ map, point, others }) {
  const folder = map.folderNameOf(point), labels = map.labelsText(point);
  return html`
    <p class="name">${nameOf(map.uriOf(point))}</p>
    ${labels && html`<p>${shown(labels)}</p>`}
    ${map.tagsOf(point).slice(0, 6).map(([key, value]) => html`<p class="soft">${shown(`${key}: ${value}`)}</p>`)}
    <p class="soft">${clock(map.durations[point])}${folder && `, ${shown(folder)}`}</p>
    ${others > 0 && html`<p class="soft">${several(others, "other")} at the same place</p>`}`;
}

/** What is pointed at, beside the pointer. */
function Tip({ map, hover, scatter }) {
  const tip = useRef();
  useEffect(() => {
    const box = tip.current?.parentElement.getBoundingClientRect();
    if (!box || !hover) return;
    const { offsetWidth, offsetHeight, style } = tip.current, { x, y } = hover;
    const left = x + 16 + offsetWidth < box.width ? x + 16 : x - 16 - offsetWidth;
    style.left = `${Math.max(4, left)}px`;
    style.top = `${Math.max(4, Math.min(y + 12, box.height - offsetHeight - 4))}px`;
  });
  return html`<div class="tip" ref=${tip} hidden=${!hover}>${hover && html`
    <${Facts} map=${map} point=${hover.point} others=${scatter.atPlaceOf(hover.point) - 1} />`}</div>`;
}

/**
 * @param {{map: import("./mapload.js").ClipMap, picked: number, isPlaying: boolean,
 *   on: {scatter(made: any): void, view(): void, pick(point: number): void, hear(point: number): void,
 *     quiet(): void, lasso(corners: number[][]): void, key(event: KeyboardEvent): boolean}}} props
 *   `on.hear`: of a clip that is pointed at; `on.key`: whether a key was one of the map's
 */
export function Plot({ map, on, label, children }) {
  const points = useRef(), overlay = useRef(), handlers = useRef(on);
  const [hover, setHover] = useState(null), [scatter, setScatter] = useState(null);
  handlers.current = on;
  useLayoutEffect(() => { // before the first key
    let timer = 0, before = -1;
    const made = createScatter({
      canvas: points.current, overlay: overlay.current, places: map.places,
      slowWillDo: location.hash === "#webgl",
      onHover(point, x, y) {
        setHover(point < 0 ? null : { point, x, y });
        if (point === before) return;
        before = point;
        clearTimeout(timer);
        timer = point < 0 ? setTimeout(() => handlers.current.quiet(), LEAVES)
          : setTimeout(() => handlers.current.hear(point), PASSES);
      },
      onPick: (point) => handlers.current.pick(point),
      onLasso: (_, corners) => handlers.current.lasso(corners),
      onView: () => { setHover(null); handlers.current.view(); },
    });
    setScatter(made);
    window.soundsearchMap = made; // for tests and benchmarks
    handlers.current.scatter(made);
    return () => { clearTimeout(timer); made.close(); handlers.current.scatter(null); };
  }, []);
  const press = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !handlers.current.key(event)) return;
    event.preventDefault();
  };
  return html`
    <div class="plot" data-painter=${scatter?.painter}>
      <canvas ref=${points} aria-hidden="true"></canvas>
      <canvas ref=${overlay} tabindex="0" role="application" aria-label=${label}
        aria-describedby="map-keys" onKeyDown=${press}></canvas>
      <p id="map-keys" class="unseen">Arrow keys go from clip to clip, with Shift they move the map; plus and minus
        zoom, 0 shows all; Space plays, Enter asks with the clip.</p>
      ${children}
      ${scatter && html`<${Tip} map=${map} hover=${hover} scatter=${scatter} />`}
    </div>`;
}
