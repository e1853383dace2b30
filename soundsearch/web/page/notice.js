// What is said in passing, such as that a path was copied.
import { html, useEffect } from "./vendor.js";
import { shown } from "./names.js";
import { observable, useStore } from "./store.js";

const SECONDS = 6;
const notice = observable({ text: "", isProblem: false, turn: 0 });

/** Say something for a while. */
export function say(text, isProblem = false) {
  notice.set({ text, isProblem, turn: notice.value.turn + 1 });
}

export function Notice() {
  const { text, isProblem, turn } = useStore(notice);
  useEffect(() => {
    const timer = setTimeout(() => notice.set({ text: "" }), 1000 * SECONDS);
    return () => clearTimeout(timer);
  }, [turn]);
  return html`<p class=${`notice ${isProblem ? "problem" : ""}`} role="status" hidden=${!text}>${shown(text)}</p>`;
}
