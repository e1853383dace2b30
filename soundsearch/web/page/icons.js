// Pictures of buttons; what a button is called is said beside them.
import { html } from "./vendor.js";

const PATHS = {
  play: html`<path d="M4 2.5v11l9-5.5z" />`,
  pause: html`<path d="M3.5 2.5h3v11h-3zM9.5 2.5h3v11h-3z" />`,
  close: html`<path d="M3 3l10 10M13 3L3 13" class="line" />`,
  more: html`<path d="M8 3v10M3 8h10" class="line" />`,
  less: html`<path d="M3 8h10" class="line" />`,
  similar: html`<path d="M2 6c2-3 4-2 6-.5s4 2.5 6-.5M2 11.5c2-3 4-2 6-.5s4 2.5 6-.5" class="line" />`,
  tray: html`<path d="M8 1.8l1.9 4 4.3.6-3.100 3.100.7 4.3L8 11.7l-3.8 2.100.7-4.3-3.100-3.100 4.3-.6z" class="line" />`,
  kept: html`<path d="M8 1.3l2.100 4.3 4.7.7-3.400 3.3.8 4.7L8 12.100l-4.200 2.200.8-4.7-3.400-3.3 4.7-.7z" />`,
  save: html`<path d="M8 2v8M4.5 7L8 10.5 11.5 7M2.5 13.5h11" class="line" />`,
  copy: html`<path d="M5.5 5.5h8v8h-8zM10.5 5.5v-3h-8v8h3" class="line" />`,
  filter: html`<path d="M2 4h12M4.5 8h7M6.5 12h3" class="line" />`,
  theme: html`<path d="M8 1.5a6.5 6.5 0 1 0 0 13z" /><circle cx="8" cy="8" r="6" class="line" />`,
};

/** @param {{name: keyof PATHS}} props */
export function Icon({ name }) {
  return html`<svg class="icon" viewBox="0 0 16 16" aria-hidden="true">${PATHS[name]}</svg>`;
}
