import { html } from "./vendor.js";

/** @param {{address: import("./address.js").Address}} props */
export default function View() {
  return html`<main><h1 class="unseen">Recording</h1></main>`;
}
