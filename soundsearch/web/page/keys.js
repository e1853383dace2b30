// One table of keys: what each does at the moment, which `?` shows.
import { html, useLayoutEffect, useRef, useState } from "./vendor.js";

/**
 * @typedef {{keys: string[], help: string, run: (event: KeyboardEvent) => void, isFree?: boolean}} Key
 *   `keys` as KeyboardEvent has them, "Space", "Shift+Space"; `isFree`: also while a text is typed
 */
const tables = [];

// What takes all keys, what takes those that press it, and those that move it.
const TYPING = "input:not([type=checkbox], [type=file], [type=range]), select, textarea, [contenteditable], [data-keys=own]";
const PRESSED = "button, a, summary, [type=checkbox], [type=file], [role=button], [role=option], [role=treeitem]";
const MOVED = "[type=range]";

function nameOf(event) {
  const key = event.key === " " ? "Space" : event.key;
  return event.shiftKey && key.length > 1 ? `Shift+${key}` : key;
}

addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  const name = nameOf(event), target = event.target;
  const isTyping = target.closest?.(TYPING);
  const isPress = /(Space|Enter)$/.test(name) && target.closest?.(PRESSED);
  const isMove = /^(Arrow|Page|Home|End)/.test(name) && target.closest?.(MOVED);
  if (document.querySelector("dialog:modal") || isPress || isMove) return;
  for (const table of [...tables].reverse()) {
    const found = table.current.find((each) => each.keys.includes(name) && (each.isFree || !isTyping));
    if (found) {
      event.preventDefault();
      found.run(event);
      return;
    }
  }
});

/** Keys that do something as long as the component is there; those of the latest come first. */
export function useKeys(keys) {
  const table = useRef(keys);
  table.current = keys;
  useLayoutEffect(() => {
    tables.push(table);
    return () => tables.splice(tables.indexOf(table), 1);
  }, []);
}

const MARKS = { ArrowDown: "↓", ArrowUp: "↑", ArrowLeft: "←", ArrowRight: "→", Escape: "Esc" };

function Names({ keys }) {
  return keys.map((key, at) => html`${at > 0 && " "}<kbd>${MARKS[key] ?? key.replace("+", " + ")}</kbd>`);
}

/** The button and the dialog that show all keys. */
export function Help() {
  const [isOpen, setOpen] = useState(false);
  const dialog = useRef();
  // At once: the next key may come before a frame is drawn, and is the dialog's.
  const open = () => { setOpen(true); dialog.current.showModal(); };
  useKeys([{ keys: ["?"], help: "Show keys", run: open }]);
  const all = isOpen ? [...tables].reverse().flatMap((table) => table.current) : [];
  return html`
    <button class="plain" aria-label="Keys" title="Keys (?)" onClick=${open}>?</button>
    <dialog ref=${dialog} class="keys" aria-label="Keys" onClose=${() => setOpen(dialog.current.open)}>
      <dl>${all.map((each) => html`<div><dt><${Names} keys=${each.keys} /></dt><dd>${each.help}</dd></div>`)}</dl>
      <form method="dialog"><button>Close</button></form>
    </dialog>`;
}
