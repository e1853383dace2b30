import { HIDDEN, createScatter } from "./scatter.js";

// What is shown of a name: what acts on a line of text is written out.
const ACTING =
  /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]/gu;
const LISTED = 200;
const NO_LABEL = 0xffff;

const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const count = data.count;

function unpacked(text, Kind) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  return new Kind(bytes.buffer);
}

const places = unpacked(data.places, Float32Array);
const folderOf = unpacked(data.folder, Uint32Array);
const labels = unpacked(data.labels, Uint16Array);
const scores = unpacked(data.scores, Uint8Array);
const durations = unpacked(data.durations, Float32Array);
const perClip = count ? labels.length / count : 0;
// The tags of each clip that has some: their numbers, and those of their values, in turn.
const tagged = new Map();
data.tags.forEach((tag, number) => {
  tag.clips = unpacked(tag.clips, Uint32Array);
  tag.of = unpacked(tag.of, Uint32Array);
  tag.clips.forEach((point, at) => {
    if (!tagged.has(point)) tagged.set(point, []);
    tagged.get(point).push(number, tag.of[at]);
  });
});

function shown(text) {
  return text.replace(ACTING, (character) => {
    const code = character.codePointAt(0);
    return code >= 0xdc80 && code <= 0xdcff ? `\\x${(code - 0xdc00).toString(16)}`
      : `\\u${code.toString(16).padStart(4, "0")}`;
  });
}

function uriOf(point) {
  if (point in data.uris) return data.uris[point];
  const folder = data.folders[folderOf[point]], name = data.names[point];
  return !folder || folder.endsWith(data.separator) ? folder + name
    : folder + data.separator + name;
}

function tagsOf(point) {
  const numbers = tagged.get(point) || [], found = [];
  for (let at = 0; at < numbers.length; at += 2) {
    const tag = data.tags[numbers[at]];
    found.push([tag.key, tag.values[numbers[at + 1]]]);
  }
  return found;
}
const givenOf = (point) => (data.given[point] || []).map((number) => data.classes[number]);
function predictedOf(point) {
  const found = [];
  for (let at = perClip * point; at < perClip * (point + 1); at++)
    if (labels[at] !== NO_LABEL) found.push([data.classes[labels[at]], scores[at] / 100]);
  return found;
}
const labelsText = (point) => [
  ...givenOf(point),
  ...predictedOf(point).map(([name, score]) => `${name} ${score.toFixed(2)}`),
].join(", ");
const clock = (seconds) => seconds >= 60
  ? `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`
  : `${seconds.toFixed(1)} s`;
const several = (number, what) => `${number.toLocaleString("en")} ${what}${number === 1 ? "" : "s"}`;

function element(kind, text, className) {
  const made = document.createElement(kind);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

const ofEach = (of) => Int32Array.from({ length: count }, (_, point) => of(point));
function ofTag(tag) {
  const values = new Int32Array(count).fill(-1);
  tag.clips.forEach((point, at) => { values[point] = tag.of[at]; });
  return values;
}

// What clips can be coloured by. Each gives every clip the number of a value, -1 for none.
const columns = [
  {
    key: "label", name: "Label", values: data.classes,
    ofAll: () => ofEach((point) => point in data.given && data.given[point].length
      ? data.given[point][0]
      : perClip && labels[perClip * point] !== NO_LABEL ? labels[perClip * point] : -1),
  },
  {
    key: "folder", name: "Folder", values: data.folders,
    ofAll: () => ofEach((point) => data.folders[folderOf[point]] ? folderOf[point] : -1),
  },
  ...data.tags.map((tag) => ({
    key: `tag[${tag.key}]`, name: `Tag: ${shown(tag.key)}`, values: tag.values,
    ofAll: () => ofTag(tag),
  })),
];

const scatter = createScatter({
  canvas: $("points"), overlay: $("overlay"), places, slowWillDo: location.hash === "#webgl",
  onHover: tell, onPick: (point) => { if (point >= 0) play(point); }, onLasso: select,
});

// Colours: of the most frequent values, one for the others, one for clips without.
const dark = matchMedia("(prefers-color-scheme: dark)");
const palette = () => data.colours[dark.matches ? "dark" : "light"];
const own = data.colours.light.length - 2;
let kinds = new Uint8Array(count), legend = [];
const hidden = new Set();

function chooseColumn() {
  const column = columns[$("by").selectedIndex];
  const values = column.ofAll();
  const counts = new Map();
  for (const value of values) counts.set(value, (counts.get(value) || 0) + 1);
  const none = counts.get(-1) || 0;
  counts.delete(-1);
  const name = (value) => column.values[value];
  const sorted = [...counts].sort((one, other) => other[1] - one[1]
    || (name(one[0]) < name(other[0]) ? -1 : name(one[0]) > name(other[0]) ? 1 : 0));
  const numbers = new Map(sorted.slice(0, own).map(([value], at) => [value, at]));
  kinds = Uint8Array.from(values, (value) => value < 0 ? own + 1 : numbers.get(value) ?? own);
  legend = sorted.slice(0, own).map(([value, of], at) =>
    ({ name: shown(name(value)) || "(empty)", kind: at, count: of }));
  const rest = sorted.slice(own);
  if (rest.length) legend.push({ name: `${several(rest.length, "other")}`, kind: own,
    count: rest.reduce((sum, [, of]) => sum + of, 0) });
  if (none) legend.push({ name: "none", kind: own + 1, count: none });
  hidden.clear();
  showLegend();
  colour();
}

function colour() {
  scatter.colour(kinds.map((kind) => hidden.has(kind) ? HIDDEN : kind));
  update();
}

function showLegend() {
  $("legend").replaceChildren(...legend.map(({ name, kind, count: of }) => {
    const button = element("button");
    const dot = element("i");
    dot.style.background = palette()[kind];
    button.append(dot, element("span", name, "cut"), element("span", of.toLocaleString("en"), "count"));
    button.title = name;
    button.setAttribute("aria-pressed", String(!hidden.has(kind)));
    button.addEventListener("click", () => {
      if (!hidden.delete(kind)) hidden.add(kind);
      button.setAttribute("aria-pressed", String(!hidden.has(kind)));
      colour();
    });
    return button;
  }));
}

function paint() {
  scatter.paint(palette(), getComputedStyle(document.body).color);
  showLegend();
}
dark.addEventListener("change", paint);

// Search and lasso: which clips are meant.
let texts = null, chosen = null, listed = [];

function words() {
  return $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
}

function textOf(point) {
  return [uriOf(point), ...givenOf(point), ...predictedOf(point).map(([name]) => name),
    ...tagsOf(point).flat()].join("\n").toLowerCase();
}

function update() {
  const asked = words();
  if (asked.length) texts ||= Array.from({ length: count }, (_, point) => textOf(point));
  const meant = asked.length || chosen ? new Uint8Array(count) : null;
  const among = chosen || null;
  if (meant) {
    const mark = (point) => {
      if (asked.every((word) => texts[point].includes(word))) meant[point] = 1;
    };
    if (among) among.forEach(mark);
    else for (let point = 0; point < count; point++) mark(point);
  }
  scatter.highlight(meant);
  listed = [];
  for (let point = 0; point < count; point++)
    if (!hidden.has(kinds[point]) && (!meant || meant[point])) listed.push(point);
  const how = chosen && asked.length ? " found in the lasso" : chosen ? " in the lasso"
    : asked.length ? " found" : "";
  $("status").textContent = several(listed.length, "clip") + how;
  $("clear").hidden = !chosen;
  showList();
}

function showList() {
  const rows = listed.slice(0, LISTED).map((point) => {
    const row = element("li"), button = element("button");
    button.append(element("span", shown(data.names[point]), "cut"));
    button.firstChild.style.display = "block";
    const beside = labelsText(point);
    if (beside) button.append(element("small", shown(beside), "cut"));
    button.title = shown(uriOf(point));
    button.dataset.point = point;
    if (point === current) button.setAttribute("aria-current", "true");
    button.addEventListener("click", () => { scatter.show(point); play(point); });
    button.addEventListener("focus", () => scatter.mark(point));
    row.append(button);
    return row;
  });
  if (listed.length > LISTED)
    rows.push(element("li", `and ${(listed.length - LISTED).toLocaleString("en")} more`, "more"));
  $("list").replaceChildren(...rows);
  $("copy").disabled = $("save").disabled = !listed.length;
}

function select(points) {
  lassoing(false);
  chosen = points;
  update();
}

function lassoing(is) {
  $("lasso").setAttribute("aria-pressed", String(is));
  scatter.lassoing(is);
}

const listText = () => listed.map((point) => {
  const uri = uriOf(point);
  return /[\n\r\ud800-\udfff]/u.test(uri) ? shown(uri) : uri;
}).join("\n") + "\n";

async function copy() {
  try {
    await navigator.clipboard.writeText(listText());
  } catch {
    const area = element("textarea", listText());
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  $("status").textContent = `${several(listed.length, "path")} copied`;
}

function save() {
  const link = element("a");
  link.href = URL.createObjectURL(new Blob([listText()], { type: "text/plain" }));
  link.download = "clips.txt";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

// Hovering.
function tell(point, x, y) {
  const tip = $("tip");
  tip.hidden = point < 0;
  if (point < 0) return;
  if (tip.dataset.point !== String(point)) {
    tip.dataset.point = point;
    const folder = data.folders[folderOf[point]];
    const others = scatter.atPlaceOf(point) - 1;
    tip.replaceChildren(...[
      [`${shown(data.names[point])}`, "name"],
      [labelsText(point) && shown(labelsText(point)), ""],
      ...tagsOf(point).slice(0, 6).map(([key, value]) => [shown(`${key}: ${value}`), "soft"]),
      [`${clock(durations[point])}${folder ? `, ${shown(folder)}` : ""}`, "soft"],
      [others > 0 && `${several(others, "other")} at the same place`, "soft"],
    ].filter(([text]) => text).map(([text, className]) => element("p", text, className)));
  }
  const box = $("plot").getBoundingClientRect();
  const right = x + 16 + tip.offsetWidth < box.width;
  tip.style.left = `${Math.max(4, right ? x + 16 : x - 16 - tip.offsetWidth)}px`;
  tip.style.top = `${Math.max(4, Math.min(y + 12, box.height - tip.offsetHeight - 4))}px`;
}

// Playing.
let current = -1, ways = [];

function encoded(path) {
  const parts = data.separator === "\\" ? path.replaceAll("\\", "/") : path;
  return Array.from(parts, (character) => {
    const code = character.codePointAt(0);
    if (code >= 0xdc80 && code <= 0xdcff) return `%${(code - 0xdc00).toString(16)}`;
    if (code >= 0xd800 && code <= 0xdfff) return "%EF%BF%BD";
    return "/:".includes(character) ? character : encodeURIComponent(character);
  }).join("");
}

/** Where the file of a clip may be: below the page, wherever both are, or where it was. */
function waysTo(uri) {
  const isPath = uri.startsWith("/") || (data.separator === "\\" && /^[a-z]:|^\\\\/i.test(uri));
  if (!isPath) return [];
  const base = data.where.endsWith(data.separator) ? data.where : data.where + data.separator;
  const there = `file://${uri.startsWith("/") ? "" : "/"}${encoded(uri)}`;
  return uri.startsWith(base) ? [`./${encoded(uri.slice(base.length))}`, there] : [there];
}

function play(point) {
  const audio = $("audio"), uri = uriOf(point);
  scatter.mark(point);
  if (point === current && audio.src && !audio.error) {
    if (audio.paused) audio.play().catch(() => {});
    else audio.pause();
    return;
  }
  current = point;
  $("playing").textContent = shown(data.names[point]);
  $("playing").title = shown(uri);
  $("problem").textContent = "";
  for (const button of document.querySelectorAll("#list button"))
    button.toggleAttribute("aria-current", false);
  document.querySelector(`#list button[data-point="${point}"]`)?.setAttribute("aria-current", "true");
  ways = waysTo(uri);
  if (ways.length) return begin();
  audio.pause();
  audio.removeAttribute("src");
  const why = /^https?:/i.test(uri) ? "This clip is on a server, and this page opens no connection: "
    : /^(zip|tar):/.test(uri) ? "This clip is in an archive, which browsers do not open: "
    : "This clip is no file that the browser could play: ";
  problem(why, uri);
}

function begin() {
  const audio = $("audio");
  audio.hidden = false;
  audio.src = ways[0];
  audio.play().catch(() => {});
}

function problem(why, uri) {
  $("audio").hidden = true;
  $("problem").replaceChildren(element("span", why));
  if (/^https?:\/\//i.test(uri)) {
    const link = element("a", shown(uri));
    link.href = uri;
    link.rel = "noopener noreferrer";
    link.target = "_blank";
    $("problem").append(link);
  } else {
    $("problem").append(element("span", shown(uri)));
  }
}

$("audio").addEventListener("error", () => {
  if (!$("audio").getAttribute("src")) return;
  ways.shift();
  if (ways.length) begin();
  else problem("The browser cannot play this file; it is gone, or of a kind that it lacks: ", uriOf(current));
});

// Controls.
$("by").append(...columns.map((column) => element("option", column.name)));
$("by").selectedIndex = Math.max(0, columns.findIndex((column) => column.key === data.by));
$("by").addEventListener("change", chooseColumn);
let timer = 0;
$("search").addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(update, 120);
});
$("in").addEventListener("click", () => scatter.zoomBy(1.6));
$("out").addEventListener("click", () => scatter.zoomBy(1 / 1.6));
$("all").addEventListener("click", () => scatter.fit());
$("lasso").addEventListener("click", () =>
  lassoing($("lasso").getAttribute("aria-pressed") !== "true"));
$("clear").addEventListener("click", () => { chosen = null; update(); });
$("copy").addEventListener("click", copy);
$("save").addEventListener("click", save);
$("list").addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step) return;
  const buttons = [...document.querySelectorAll("#list button")];
  buttons[buttons.indexOf(document.activeElement) + step]?.focus();
  event.preventDefault();
});
const keys = {
  ArrowLeft: () => scatter.panBy(60, 0), ArrowRight: () => scatter.panBy(-60, 0),
  ArrowUp: () => scatter.panBy(0, 60), ArrowDown: () => scatter.panBy(0, -60),
  "+": () => scatter.zoomBy(1.3), "=": () => scatter.zoomBy(1.3), "-": () => scatter.zoomBy(1 / 1.3),
  0: () => scatter.fit(), l: () => $("lasso").click(),
};
$("overlay").addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !(event.key in keys)) return;
  keys[event.key]();
  event.preventDefault();
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  scatter.cancel();
  lassoing(false);
  if (chosen) {
    chosen = null;
    update();
  }
});

const methods = { tsne: "t-SNE", pca: "PCA", umap: "UMAP" };
$("about").textContent = `${several(count, "clip")} by ${methods[data.method]}`;
document.title = `Map of ${several(count, "clip")}`;
document.documentElement.dataset.painter = scatter.painter;
chooseColumn();
paint();
window.soundsearchMap = scatter;
