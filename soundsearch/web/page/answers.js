// The list of answers.
import { html } from "./vendor.js";
import { go, href } from "./address.js";
import { Hits } from "./hits.js";
import { count, counted, nameOf, shown } from "./names.js";
import { MOST, PAGE, questionOf } from "./question.js";

/** What is asked, in a few words; `asked` are the facts of the clip that it asks with. */
export function titleOf({ params }, asked) {
  const words = [...params.getAll("text"), ...params.getAll("label")].map(shown);
  const clip = params.get("clip");
  if (clip) words.push(`like ${asked ? nameOf(asked.uri) : shown(clip)}`);
  else if (params.has("sound")) words.push("like a sound");
  else if (params.has("like")) words.push(`like ${counted(params.getAll("like").length, "clip")}`);
  if (params.has("where")) words.push(shown(params.get("where")));
  return words.join(", ");
}

const more = (answer) => go({ k: Math.min(MOST, answer.rows.length + PAGE) }, { replace: true });

export function Answers({ answer }) {
  const { state, kind, rows, total, error, isMore } = answer;
  const params = questionOf(new URLSearchParams(answer.key));
  if (state === "idle") return null;
  if (error?.error === "LibraryNotFound") return null;
  if (state === "failed") return html`<p class="problem" role="alert">${shown(error.message)}</p>`;
  const isBusy = state === "loading";
  const said = isBusy && !rows.length ? "…"
    : kind === "list" ? counted(total ?? rows.length, "clip")
      : rows.length ? `${count(rows.length)}${isMore ? " nearest" : ""}` : "Nothing found";
  return html`
    <section class="answers" aria-label="Answers" aria-busy=${isBusy}>
      <p class="soft"><span role="status">${said}</span>
        ${rows.length > 0 && html`${" "}<a href=${href({}, { path: "/map", from: params })}>Show on map</a>`}</p>
      ${answer.warning && html`<p class="soft">${shown(answer.warning)}</p>`}
      ${rows.length > 0 && html`
        <${Hits} key=${answer.key} rows=${rows} name=${answer.key} label=${kind === "list" ? "Clips" : "Answers"}
          onMore=${isMore && rows.length < MOST ? () => more(answer) : null} isBusy=${isBusy} />`}
    </section>`;
}
