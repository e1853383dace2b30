// An ingest of a folder: its start, how far it is, and its end.
import { html, useEffect, useRef, useState } from "./vendor.js";
import { api } from "./api.js";
import { count, counted, lasting, nameOf, shown } from "./names.js";

// How long until it is asked again how far an ingest is, milliseconds: while one runs, and while none.
const SOON = 500, LATER = 5000;
const OUTCOMES = { added: "added", replaced: "replaced", renamed: "moved", unchanged: "unchanged",
  failed: "failed", "failed before": "failed before" };
const ENDED = { done: "Ingested", stopped: "Stopped", failed: "The ingest failed" };

/** What became of files, in words. */
function outcomesOf({ outcomes }) {
  return Object.entries(OUTCOMES).filter(([name]) => outcomes[name])
    .map(([name, word]) => `${count(outcomes[name])} ${word}`).join(", ");
}

function Running({ state, onStop }) {
  const { files, total, long, step } = state;
  const share = long ? long.heard / long.all : 0;
  const of = total === null ? counted(files, "file") : `${count(files)} of ${counted(total, "file")}`;
  const parts = [of, `${lasting(state.sound)} of sound`];
  if (state.rate) parts.push(`${count(Math.round(state.rate))} × real time`);
  if (state.left !== null) parts.push(`${lasting(state.left)} left`);
  const outcomes = outcomesOf(state);
  const isBegun = total !== null && files + state.sound > 0;
  const doing = long ? `${nameOf(long.uri)}: ${Math.round(100 * share)} %` : step && shown(step);
  return html`
    <div class="running">
      <p><b class="cut">${shown(state.folder)}</b></p>
      <progress aria-label="Ingest" max=${total || 1} value=${isBegun ? files + share : null}></progress>
      <p>${parts.join(" · ")}</p>
      <p class="soft">${outcomes || " "}${doing && html` · ${doing}`}</p>
      <button onClick=${onStop}>Stop</button>
    </div>`;
}

function Last({ state }) {
  if (!(state.state in ENDED)) return null;
  const isWrong = state.state === "failed";
  return html`
    <p role="status" class=${isWrong ? "problem" : ""}>
      ${ENDED[state.state]}: ${shown(state.folder)} (${outcomesOf(state) || "nothing new"}).
      ${state.message && html` ${shown(state.message)}`}
    </p>`;
}

function Start({ state, onStart }) {
  const { folders, state: last, folder } = state;
  const first = last === "none" ? folders[0] ?? "" : folder;
  const submit = (event) => {
    event.preventDefault();
    const form = event.target;
    onStart({ folder: form.folder.value, retry_failed: form.again.checked });
  };
  return html`
    <form onSubmit=${submit}>
      <label for="folder">Folder on the server</label>
      <span class="folder">
        <input id="folder" name="folder" list="folders" required autocomplete="off" spellcheck=${false} defaultValue=${first} />
        <datalist id="folders">${folders.map((each) => html`<option value=${each} />`)}</datalist>
        <button>Ingest</button>
      </span>
      <label class="tick"><input type="checkbox" name="again" /> Try again what failed before</label>
    </form>`;
}

/** @param {{isEmpty: boolean, onChange: () => void}} props `onChange` is called as clips come */
export function Ingest({ isEmpty, onChange }) {
  const [state, setState] = useState(null);
  const [problem, setProblem] = useState("");
  const isRunning = state?.state === "running";
  const before = useRef(null);
  const turn = useRef(0), section = useRef();
  const told = useRef(0);
  const tell = (found) => {
    const was = before.current;
    before.current = found;
    setState(found);
    // Also one that began and ended between two looks.
    const isNew = was && (was.state !== found.state || was.files !== found.files);
    if (isNew && (found.state !== "running" || Date.now() - told.current > LATER)) {
      told.current = Date.now();
      onChange();
    }
  };
  useEffect(() => {
    const stop = new AbortController();
    let timer = 0;
    const look = async () => {
      const mine = turn.current;
      const found = await api.get("/ingest", {}, { signal: stop.signal }).catch(() => null);
      if (stop.signal.aborted) return;
      if (found && mine === turn.current) tell(found);
      timer = setTimeout(look, before.current?.state === "running" ? SOON : LATER);
    };
    look();
    return () => { stop.abort(); clearTimeout(timer); };
  }, [isRunning]);
  useEffect(() => {
    // The button that began or stopped it is gone.
    if (document.activeElement === document.body && navigator.userActivation?.hasBeenActive) section.current?.focus();
  }, [isRunning]);
  const act = (doing) => {
    turn.current += 1; // what was asked before is old
    setProblem("");
    return doing.then(tell, (error) => setProblem(error.message));
  };
  if (!state || (isEmpty && !state.is_allowed)) return null;
  return html`
    <section class="ingest" aria-labelledby="ingest" tabindex="-1" ref=${section}>
      <h2 id="ingest">Ingest</h2>
      ${isRunning && html`<${Running} state=${state} onStop=${() => act(api.delete("/ingest"))} />`}
      ${!isRunning && html`<${Last} state=${state} />`}
      ${!isRunning && state.is_allowed && html`
        <${Start} state=${state} onStart=${(asked) => act(api.post("/ingest", asked))} />`}
      ${!state.is_allowed && html`
        <p>Add sounds, or bring the library up to date, with: <code>${shown(state.command)}</code></p>`}
      ${problem && html`<p class="problem" role="alert">${shown(problem)}</p>`}
    </section>`;
}
