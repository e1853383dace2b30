// A file that is dropped or pasted anywhere on the page is asked with.
import { html, useEffect, useState } from "./vendor.js";
import { askWith } from "./asking.js";

const hasFiles = (event) => event.dataTransfer?.types.includes("Files");

export function Drop() {
  const [isOver, setOver] = useState(false);
  useEffect(() => {
    let depth = 0;
    const show = (change) => {
      depth = change ? depth + change : 0;
      setOver(depth > 0);
    };
    const listeners = {
      dragenter: (event) => { if (hasFiles(event)) show(1); },
      dragleave: (event) => { if (hasFiles(event)) show(-1); },
      dragover: (event) => { if (hasFiles(event)) event.preventDefault(); },
      drop: (event) => {
        if (!hasFiles(event)) return;
        event.preventDefault();
        show(0);
        askWith([...event.dataTransfer.files]);
      },
      paste: (event) => {
        const files = [...(event.clipboardData?.files ?? [])];
        if (!files.length) return;
        event.preventDefault();
        askWith(files);
      },
    };
    for (const [name, listener] of Object.entries(listeners)) addEventListener(name, listener);
    return () => {
      for (const [name, listener] of Object.entries(listeners)) removeEventListener(name, listener);
    };
  }, []);
  return isOver && html`<div class="drop"><p>Drop the sound to search for what is like it</p></div>`;
}
