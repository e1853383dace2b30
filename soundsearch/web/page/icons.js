// Pictures of buttons; what a button is called is said beside them.
import { html } from "./vendor.js";

const PATHS = {
  play: html`<path d="M4 2.5v11l9-5.5z" />`,
  pause: html`<path d="M3.5 2.5h3v11h-3zM9.5 2.5h3v11h-3z" />`,
  close: html`<path d="M3 3l10 10M13 3L3 13" class="line" />`,
  theme: html`<path d="M8 1.5a6.5 6.5 0 1 0 0 13z" /><circle cx="8" cy="8" r="6" class="line" />`,
};

/** @param {{name: keyof PATHS}} props */
export function Icon({ name }) {
  return html`<svg class="icon" viewBox="0 0 16 16" aria-hidden="true">${PATHS[name]}</svg>`;
}
