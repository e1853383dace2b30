// A filter as controls: what of it they can show, and the rest of it as text.

/**
 * @typedef {[any, any]} Span from (included) and to (not included), null where there is no bound
 * @typedef {{labels: string[], least: number, folders: string[], duration: Span, modified: Span,
 *   tags: [string, any[]][], rest: string}} Parts
 *   `labels`, `folders` (patterns of uris) and the values of a tag: any of them; `duration`: seconds;
 *   `modified`: days as 2024-05-31; `rest`: what no control shows
 */

export const LEAST = 0.5;

/** @returns {Parts} */
export const nothing = () => ({ labels: [], least: LEAST, folders: [], duration: [null, null],
  modified: [null, null], tags: [], rest: "" });

const TOKEN = /\s*(?:('(?:[^'\\]|\\[^])*'|"(?:[^"\\]|\\[^])*")|([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)|(\w+)|(==|!=|<=|>=|<|>|[()[\],]))/uy;
const KEYWORDS = ["and", "or", "not", "in", "is", "like", "missing", "true", "false"];

const unquoted = (text) => text.slice(1, -1).replace(/\\([^])/gu, "$1");
const quoted = (text) => `'${text.replace(/[\\']/g, "\\$&")}'`;

/** The tokens of a filter; null where it has others. */
function tokensOf(text) {
  const found = [];
  TOKEN.lastIndex = 0;
  for (let end = 0; text.slice(end).trim(); end = TOKEN.lastIndex) {
    const token = TOKEN.exec(text);
    if (!token) return null;
    const [whole, string, number, word, sign] = token;
    const from = end + whole.length - whole.trimStart().length;
    const place = { from, to: TOKEN.lastIndex };
    if (string) found.push({ ...place, kind: "text", value: unquoted(string) });
    else if (number) found.push({ ...place, kind: "number", value: Number(number) });
    else if (/^(true|false)$/i.test(word ?? "")) found.push({ ...place, kind: "flag", value: /true/i.test(word) });
    else if (word) found.push({ ...place, kind: KEYWORDS.includes(word.toLowerCase()) ? word.toLowerCase() : `field ${word}` });
    else found.push({ ...place, kind: sign });
  }
  return found;
}

/** Parts of a list of tokens between those of a kind that are in no parentheses; null if these are odd. */
function parted(tokens, kind) {
  const parts = [[]];
  let depth = 0;
  for (const token of tokens) {
    if (token.kind === "(") depth += 1;
    if (token.kind === ")") depth -= 1;
    if (depth < 0) return null;
    if (token.kind === kind && !depth) parts.push([]);
    else parts.at(-1).push(token);
  }
  return depth ? null : parts;
}

const kinds = (tokens) => tokens.map((token) => token.kind).join(" ");
const DAY = /^\d{4}(-\d\d(-\d\d)?)?$/;

/** A date as a day; null for one that is in no calendar. */
function dayOf(text) {
  const day = `${text}${"-01-01".slice(text.length - 4)}`;
  const moment = DAY.test(text) ? new Date(`${day}T00:00Z`) : null;
  return moment && Number.isFinite(+moment) && moment.toISOString().startsWith(day) && day >= "0001" ? day : null;
}

/** One comparison: which control shows it, and what of it; null for others. */
function comparison(tokens) {
  const values = tokens.filter((token) => "value" in token).map((token) => token.value);
  switch (kinds(tokens)) {
    case "field label [ text ] >= number":
      return { name: "labels", value: values[0], least: values[1] };
    case "field uri like text":
      return /^[^%]+\/%$|^%::[^%]+$/.test(values[0]) ? { name: "folders", value: values[0] } : null;
    case "field duration >= number": return { name: "duration", side: 0, value: values[0] };
    case "field duration < number": return { name: "duration", side: 1, value: values[0] };
    case "field modified >= text":
    case "field modified < text":
      if (!dayOf(values[0])) return null;
      return { name: "modified", side: tokens[1].kind === "<" ? 1 : 0, value: dayOf(values[0]) };
  }
  const isTag = /^field tag \[ text \] (== \w+|in \( \w+( , \w+)* \))$/.test(kinds(tokens));
  return isTag ? { name: "tags", key: values[0], values: values.slice(1) } : null;
}

/** Take a part of a filter into `parts`; whether a control shows it. */
function take(tokens, parts) {
  const isGroup = tokens[0]?.kind === "(" && tokens.at(-1).kind === ")";
  const each = (isGroup ? parted(tokens.slice(1, -1), "or") ?? [[]] : [tokens]).map(comparison);
  const [first] = each;
  if (!first || (each.length > 1 && !["labels", "folders"].includes(first.name))) return false;
  if (each.some((other) => other?.name !== first.name || other.least !== first.least)) return false;
  if (first.name === "labels" || first.name === "folders") {
    if (parts[first.name].length) return false;
    parts[first.name] = [...new Set(each.map((other) => other.value))];
    if (first.name === "labels") parts.least = first.least;
    return true;
  }
  if (first.name === "tags") {
    if (parts.tags.some(([name]) => name === first.key)) return false;
    parts.tags.push([first.key, first.values]);
    return true;
  }
  if (parts[first.name][first.side] !== null) return false;
  parts[first.name][first.side] = first.value;
  return true;
}

/**
 * What controls show of a filter.
 * @param {string | null} text
 * @returns {Parts}
 */
export function readWhere(text) {
  const parts = nothing();
  if (!text?.trim()) return parts;
  const tokens = tokensOf(text);
  const terms = tokens && parted(tokens, "or")?.length === 1 && parted(tokens, "and");
  if (!terms || terms.some((term) => !term.length)) return { ...parts, rest: text.trim() };
  const rest = terms.filter((term) => !take(term, parts));
  parts.rest = rest.map((term) => text.slice(term[0].from, term.at(-1).to)).join(" and ");
  return parts;
}

const anyOf = (texts) => (texts.length > 1 ? `(${texts.join(" or ")})` : texts[0]);
const valueOf = (value) => (typeof value === "string" ? quoted(value) : String(value));

/**
 * The filter that controls show; null for none.
 * @param {Parts} parts
 */
export function writeWhere({ labels, least, folders, duration, modified, tags, rest }) {
  const terms = [];
  if (labels.length) terms.push(anyOf(labels.map((name) => `label[${quoted(name)}] >= ${least}`)));
  if (folders.length) terms.push(anyOf(folders.map((pattern) => `uri like ${quoted(pattern)}`)));
  for (const [name, [from, to], write] of [["duration", duration, String], ["modified", modified, quoted]]) {
    if (from !== null) terms.push(`${name} >= ${write(from)}`);
    if (to !== null) terms.push(`${name} < ${write(to)}`);
  }
  for (const [name, values] of tags) {
    const field = `tag[${quoted(name)}]`;
    if (values.length === 1) terms.push(`${field} == ${valueOf(values[0])}`);
    else if (values.length) terms.push(`${field} in (${values.map(valueOf).join(", ")})`);
  }
  if (rest.trim()) {
    const tokens = terms.length ? tokensOf(rest) : null;
    const isSum = tokens && parted(tokens, "or")?.length !== 1;
    terms.push(isSum ? `(${rest.trim()})` : rest.trim());
  }
  return terms.join(" and ") || null;
}

/** A list with a value in it, or without it if it was. */
export const toggled = (list, value) =>
  (list.includes(value) ? list.filter((each) => each !== value) : [...list, value]);
