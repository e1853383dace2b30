// The form that changes an event, or adds one, or a label of a whole recording.
import { html, useEffect, useState } from "./vendor.js";
import { api } from "./api.js";

// What is typed fast is not asked for letter by letter, milliseconds.
const PAUSE = 100;

/** Names of labels that may be meant by what is being typed. */
function useNames(typed) {
  const [names, setNames] = useState([]);
  useEffect(() => {
    const text = typed.trim(), stop = new AbortController();
    if (!text) return undefined;
    const timer = setTimeout(() => {
      api.get("/complete", { text, k: 12 }, { signal: stop.signal })
        .then(({ labels }) => setNames(labels.map(({ name }) => name)), () => {});
    }, PAUSE);
    return () => { clearTimeout(timer); stop.abort(); };
  }, [typed]);
  return names;
}

/**
 * @param {{item: import("./corrections.js").Item | null, start: number | null, end: number | null,
 *   duration: number, isBusy: boolean, onSave: (label: string, at: [number, number] | null) => void}} props
 */
export function Edit({ item, start, end, duration, isBusy, onSave }) {
  const [typed, setTyped] = useState("");
  const names = useNames(typed);
  const submit = (event) => {
    event.preventDefault();
    const { label, from, until } = event.target;
    const isWhole = from.value === "" && until.value === "";
    const at = [Number(from.value), until.value === "" ? duration : Number(until.value)];
    until.setCustomValidity(isWhole || at[0] < at[1] ? "" : "It ends before it begins.");
    if (event.target.reportValidity()) onSave(label.value.trim(), isWhole ? null : at);
  };
  const second = (id, name, value) => html`
    <span><label for=${id}>${name}</label> <input id=${id} name=${id} type="number" min="0" max=${duration.toFixed(3)} step="any" inputmode="decimal"
      defaultValue=${value === null ? "" : Number(value.toFixed(3))} onInput=${(event) => event.target.form.until.setCustomValidity("")} /></span>`;
  return html`
    <form onSubmit=${submit}>
      <span class="wide"><label for="label">Label</label> <input id="label" name="label" list="classes" required
        autocomplete="off" spellcheck=${false} defaultValue=${item?.label.name ?? ""}
        onInput=${(event) => setTyped(event.target.value)} /></span>
      <datalist id="classes">${names.map((name) => html`<option value=${name} />`)}</datalist>
      ${second("from", "from, s", start)}${second("until", "to, s", end)}
      <button disabled=${isBusy}>${item ? "Change" : "Add"}</button>
      ${start === null && html`<small>Without times: the whole recording</small>`}
    </form>`;
}
