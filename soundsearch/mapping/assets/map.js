import { HIDDEN, createScatter } from "./scatter.js";
import { clock, coloursBy, readClips, several, shown, unpacked, wordsOf } from "./columns.js";

const LISTED = 200;

const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const places = unpacked(data.places, Float32Array);
const clips = readClips(data);
const { count, columns, durations, labelsText, tagsOf, uriOf } = clips;

function element(kind, text, className) {
  const made = document.createElement(kind);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

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
  ({ kinds, legend } = coloursBy(columns[$("by").selectedIndex], own));
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

function update() {
  const asked = wordsOf($("search").value);
  if (asked.length) texts ||= Array.from({ length: count }, (_, point) => clips.textOf(point));
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
    button.append(element("span", shown(clips.nameOf(point)), "cut"));
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
    const folder = clips.folderNameOf(point);
    const others = scatter.atPlaceOf(point) - 1;
    tip.replaceChildren(...[
      [`${shown(clips.nameOf(point))}`, "name"],
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
  $("playing").textContent = shown(clips.nameOf(point));
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
