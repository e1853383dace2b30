// The clips of a map that are meant, as a list.
import { html, useMemo, useState } from "./vendor.js";
import { go } from "./address.js";
import { Hits } from "./hits.js";
import { MOST_KEPT, put } from "./keeping.js";
import { rowOf } from "./mapload.js";
import { count, counted, shown } from "./names.js";

// Rows that are listed at once, and clips that a question has room for.
const PAGE = 100, MOST_ASKED = 100;

/** So many of the points, evenly chosen. */
function some(points, most) {
  const share = Math.min(1, most / points.length);
  return points.filter((_, at) => Math.floor((at + 1) * share) > Math.floor(at * share));
}

function Acts({ map, points, isLasso }) {
  const ask = () => go({ like: some(points, MOST_ASKED).map((point) => map.ids[point]) }, { path: "/" });
  return html`
    <p class="acts">
      ${points.length > 0 && html`
        <button onClick=${ask}>Ask with ${points.length > MOST_ASKED ? `${MOST_ASKED} of them` : "them"}</button>
        <button onClick=${() => put(points.slice(0, MOST_KEPT).map((point) => rowOf(map, point)))}>Into the tray</button>`}
      ${isLasso && html`<button onClick=${() => go({ lasso: null })}>Clear lasso</button>`}
    </p>`;
}

/**
 * @param {{map: import("./mapload.js").ClipMap, points: number[] | null, lasso: string, find: string,
 *   answer: import("./question.js").Answer, picked: number, params: URLSearchParams}} props
 *   `points`: in the lasso or found; null for neither
 */
export function MapList({ map, points, lasso, find, answer, picked, params }) {
  const [shownRows, setShownRows] = useState(PAGE);
  const rows = useMemo(() => {
    if (points) return points.slice(0, shownRows).map((point) => rowOf(map, point));
    if (answer.rows.length) return answer.rows;
    return picked >= 0 ? [rowOf(map, picked)] : [];
  }, [points, shownRows, answer.rows, picked]);
  const isAnswer = !points && answer.rows.length > 0;
  const how = `${find ? " found" : ""}${lasso ? " in the lasso" : ""}`;
  const said = points ? `${counted(points.length, "clip")}${how}`
    : isAnswer ? `${count(answer.rows.length)} nearest` : "";
  const name = points ? `${lasso} ${find}` : isAnswer ? answer.key : `pick ${params.get("pick")}`;
  return html`
    ${said && html`<p class="soft" role="status">${said}</p>`}
    ${answer.state === "failed" && html`<p class="problem" role="alert">${shown(answer.error.message)}</p>`}
    ${points && html`<${Acts} map=${map} points=${points} isLasso=${Boolean(lasso)} />`}
    ${rows.length > 0 && html`
      <${Hits} key=${name} rows=${rows} name=${name} label=${isAnswer ? "Answers" : "Clips"}
        onMore=${points && points.length > rows.length ? () => setShownRows(shownRows + PAGE) : null} />`}`;
}
