// What limits an answer, as chips that can be taken away.
import { html } from "./vendor.js";
import { go } from "./address.js";
import { Icon } from "./icons.js";
import { shown } from "./names.js";
import { daysOf, folderName, readPer, secondsOf, writePer } from "./limits.js";
import { readWhere, writeWhere } from "./where.js";

/** The limits of an address: of each what it says, and what takes it away. */
function limitsOf(params) {
  const parts = readWhere(params.get("where"));
  const where = (changes) => ({ where: writeWhere({ ...parts, ...changes }) });
  const without = (list, value) => list.filter((each) => each !== value);
  const limits = [
    ...parts.labels.map((name) => [`${name} ≥ ${parts.least}`, where({ labels: without(parts.labels, name) })]),
    ...parts.folders.map((each) => [`in ${folderName(each)}`, where({ folders: without(parts.folders, each) })]),
  ];
  if (parts.duration.some((each) => each !== null)) limits.push([secondsOf(parts.duration), where({ duration: [null, null] })]);
  if (parts.modified.some((each) => each !== null)) limits.push([daysOf(parts.modified), where({ modified: [null, null] })]);
  for (const pair of parts.tags) {
    limits.push([`${pair[0]}: ${pair[1].join(" or ")}`, where({ tags: without(parts.tags, pair) })]);
  }
  if (parts.rest) limits.push([parts.rest, where({ rest: "" })]);
  if (params.has("min_score")) limits.push([`score ≥ ${params.get("min_score")}`, { min_score: null }]);
  const per = readPer(params.get("per"));
  if (per.folder) limits.push([`${per.folder} of a folder`, { per: writePer({ ...per, folder: 0 }) }]);
  if (per.isDistinct) limits.push(["no duplicates", { per: writePer({ ...per, isDistinct: false }) }]);
  if (per.rest) limits.push([per.rest, { per: writePer({ ...per, rest: "" }) }]);
  return limits;
}

/** @param {{params: URLSearchParams}} props */
export function FilterChips({ params }) {
  return limitsOf(params).map(([text, changes]) => html`
    <li class="chip" key=${text} title=${shown(text)}><span class="cut">${shown(text)}</span>
      <button class="plain" aria-label=${`Remove: ${shown(text)}`} onClick=${() => go(changes)}><${Icon} name="close" /></button></li>`);
}
