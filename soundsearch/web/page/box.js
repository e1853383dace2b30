// The box: words, a label, or a clip's path, with completion (a combobox with a list, by the ARIA
// practices).
import { html, useEffect, useLayoutEffect, useRef, useState } from "./vendor.js";
import { api } from "./api.js";
import { ask } from "./asking.js";
import { useKeys } from "./keys.js";
import { folderOf, nameOf, shown } from "./names.js";

// What is typed fast is not asked for letter by letter, milliseconds.
const PAUSE = 80;
// An absolute path, or the address of something.
const PATH = /^(?:\/|\\\\|[a-z]:[\\/]|[a-z][\w+.-]+:\/\/|key:)/i;

/** What a person may mean by what is typed. */
async function optionsFor(typed, signal) {
  const { labels, clips } = await api.get("/complete", { text: typed, k: 6 }, { signal });
  return [
    ...labels.map(({ name, path }) => ({
      name: shown(name), note: shown(path.slice(0, -1).join(" › ")), kind: "label", asks: { label: name },
    })),
    ...clips.map(({ id, uri }) => ({ name: nameOf(uri), note: folderOf(uri), kind: "clip", asks: { clip: id } })),
  ];
}

const wordsOf = (typed) => ({ name: typed, note: "these words", kind: "words", asks: { text: typed } });
const asTyped = (typed) => (PATH.test(typed) ? { clip: typed } : { text: typed });

/** What the address says, as one would type it. */
function saidIn({ params }) {
  const labels = params.getAll("label");
  return params.get("text") ?? (labels.length === 1 ? labels[0] : "");
}

/** @param {{address: import("./address.js").Address, isBeside: boolean}} props */
export function Box({ address, isBeside }) {
  const [typed, setTyped] = useState("");
  const [options, setOptions] = useState([]);
  const [active, setActive] = useState(-1);
  const [isOpen, setOpen] = useState(false);
  const [hasAsked, setAsked] = useState(false); // since it got the focus, or was typed in
  const input = useRef(), wanted = useRef(null);
  const said = saidIn(address);
  useLayoutEffect(() => { setTyped(said); setOpen(false); }, [said, address.params.toString()]);
  useEffect(() => () => wanted.current?.abort(), []);
  useKeys([{ keys: ["/"], help: "Type what to search for", run: () => { input.current.focus(); input.current.select(); } }]);

  const close = () => { wanted.current?.abort(); setOpen(false); setActive(-1); };
  const choose = (asks) => {
    close();
    setAsked(true);
    ask(asks, { isBeside: isBeside && !("clip" in asks) });
  };
  const type = (text) => {
    setTyped(text);
    setAsked(false);
    setActive(-1);
    wanted.current?.abort();
    const words = text.trim();
    if (!words) { setOpen(false); return; }
    const stop = wanted.current = new AbortController();
    setTimeout(() => {
      if (stop.signal.aborted) return;
      optionsFor(words, stop.signal).catch(() => []).then((found) => {
        if (stop.signal.aborted) return;
        const isClip = found.length === 1 && found[0].kind === "clip" && PATH.test(words);
        setOptions(isClip ? found : [...found, wordsOf(words)]);
        setOpen(true);
      });
    }, PAUSE);
  };
  const move = (step) => {
    if (!isOpen) { type(typed); return; }
    // -1 is what was typed, beside all options.
    const next = (active + 1 + step + options.length + 1) % (options.length + 1) - 1;
    setActive(next);
    document.getElementById(`option-${next}`)?.scrollIntoView({ block: "nearest" });
  };
  const press = (event) => {
    const { key } = event;
    if (event.isComposing) return;
    if (key === "ArrowDown" || key === "ArrowUp") move(key === "ArrowDown" ? 1 : -1);
    else if (key === "Escape") { if (isOpen) close(); else if (typed) type(""); else input.current.blur(); }
    else if (key === "Enter" && isOpen && active >= 0) choose(options[active].asks);
    else if (key === "Tab") { close(); return; } else return;
    event.preventDefault();
  };
  const submit = (event) => {
    event.preventDefault();
    if (typed.trim()) choose(asTyped(typed.trim()));
    else input.current.focus();
  };
  return html`
    <form class="box" role="search" onSubmit=${submit}>
      <input ref=${input} type="text" role="combobox" aria-label="What to search for" aria-autocomplete="list" aria-controls="options"
        aria-expanded=${isOpen} aria-activedescendant=${isOpen && active >= 0 ? `option-${active}` : null} autocomplete="off"
        spellcheck=${false} maxlength="2000" enterkeyhint="search" data-asked=${hasAsked} placeholder="Words, a label or a path; or drop a sound" value=${typed}
        onInput=${(event) => type(event.target.value)} onKeyDown=${press} onFocus=${() => setAsked(false)} onBlur=${close} />
      <ul id="options" role="listbox" aria-label="What may be meant" hidden=${!isOpen}>
        ${isOpen && options.map((option, at) => html`
          <li id=${`option-${at}`} role="option" aria-selected=${at === active} onMouseDown=${(event) => event.preventDefault()}
            onClick=${() => choose(option.asks)}>
            <span class="kind">${option.kind}</span>
            <b class="cut">${option.name}</b> <small class="cut">${option.note}</small>
          </li>`)}
      </ul>
      <span class="unseen" role="status">${isOpen ? `${options.length} suggestions` : ""}</span>
      <button class="first">Search</button>
    </form>`;
}
