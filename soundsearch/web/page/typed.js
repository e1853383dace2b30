// A field that holds what is typed until that is done, whatever is drawn meanwhile.
import { html, useState } from "./vendor.js";

/**
 * @param {{tag?: string, value: string, onValue: (value: string) => void}} props and those of the
 *   element; `onValue` is told what is typed once that is done: by Enter, by leaving the field, by the
 *   arrows of a number
 */
export function Typed({ tag = "input", value, onValue, ...rest }) {
  const [draft, setDraft] = useState(null);
  const done = (event) => {
    if (draft === null) return;
    setDraft(null);
    if (event.target.value !== value) onValue(event.target.value);
  };
  const onKeyDown = (event) => {
    if (event.key !== "Enter" || event.shiftKey) return;
    event.preventDefault();
    done(event);
  };
  const fit = rest.type === "number" && !Number.isFinite(Number(value)) ? "" : value;
  return html`<${tag} value=${draft ?? fit} onInput=${(event) => setDraft(event.target.value)} onChange=${done} onBlur=${done}
    onKeyDown=${onKeyDown} ...${rest} />`;
}
