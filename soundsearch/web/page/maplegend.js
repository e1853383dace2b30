// What the colours of a map mean.
import { html, useEffect, useState } from "./vendor.js";
import { count } from "./names.js";

const media = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => {
  const theme = document.documentElement.dataset.theme;
  return theme ? theme === "dark" : media.matches;
};

/** Whether colours are dark, kept up to date. */
export function useDark() {
  const [dark, setDark] = useState(isDark);
  useEffect(() => {
    const update = () => setDark(isDark());
    update();
    media.addEventListener("change", update);
    const watching = new MutationObserver(update);
    watching.observe(document.documentElement, { attributeFilter: ["data-theme"] });
    return () => { media.removeEventListener("change", update); watching.disconnect(); };
  }, []);
  return dark;
}

/**
 * @param {{columns: any[], column: any, legend: any[], palette: string[], hidden: Set<number>,
 *   onColumn: (key: string) => void, onHide: (hidden: number[]) => void}} props
 */
export function Legend({ columns, column, legend, palette, hidden, onColumn, onHide }) {
  const toggle = (kind) =>
    onHide(hidden.has(kind) ? [...hidden].filter((each) => each !== kind) : [...hidden, kind]);
  return html`
    <label class="field colour"><span>Colour</span>
      <select onChange=${(event) => onColumn(columns[event.target.selectedIndex].key)}>
        ${columns.map((each) => html`<option selected=${each === column}>${each.name}</option>`)}
      </select>
    </label>
    <div class="legend" role="group" aria-label="Shown colours">
      ${legend.map(({ name, kind, count: of }) => html`
        <button class="plain" key=${kind} aria-pressed=${!hidden.has(kind)} title=${name} onClick=${() => toggle(kind)}>
          <i ref=${(dot) => { if (dot) dot.style.background = palette[kind]; }}></i>
          <span class="cut">${name}</span> <small>${count(of)}</small>
        </button>`)}
    </div>`;
}
