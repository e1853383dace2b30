// How the question was understood: what was heard in it, and what its words became.
import { html } from "./vendor.js";
import { go, href } from "./address.js";
import { Icon } from "./icons.js";
import { shown, time } from "./names.js";
import { Typed } from "./typed.js";

// Labels that are told, and the least score that says something.
const MOST = 6, LEAST = 0.05;

/** @param {{labels: any[], events: any[]}} props of the sound that is asked with */
export function Heard({ labels, events }) {
  const told = labels.filter((label, at) => at === 0 || label.score >= LEAST).slice(0, MOST);
  if (!told.length) return null;
  const from = (label) => events.find((event) => event.label.name === label.name)?.onset;
  return html`
    <section class="heard" aria-label="Heard in it">
      <ul>${told.map((label) => html`
        <li><a class="label" href=${href({ label: label.name }, { path: "/", from: new URLSearchParams() })}>${shown(label.name)}</a>
          <span class="score">${label.score.toFixed(2)}</span>
          <small>${[...label.path.slice(0, -1)].map(shown).join(" › ")}</small>
          ${from(label) !== undefined && html`<small class="time">from ${time(from(label))}</small>`}</li>`)}</ul>
    </section>`;
}

const edited = (classes) => ({ classes: classes.map((group) => JSON.stringify(group)) });

/** A class that words became: its weight can be changed, and it can be taken away. */
function Class({ name, weight, onChange }) {
  const isAgainst = weight < 0;
  const set = (typed) => {
    const value = Math.min(1, Math.max(0.05, Number(typed) || 0.05));
    onChange(isAgainst ? -value : value);
  };
  return html`
    <span class="chip class">${isAgainst && html`<b class="problem">not</b> `}${shown(name)}
      <${Typed} type="number" min="0.05" max="1" step="0.05" value=${String(Math.abs(weight))} aria-label=${`Weight of ${shown(name)}`} onValue=${set} />
      <button class="plain" aria-label=${`Leave out ${shown(name)}`} onClick=${() => onChange(null)}><${Icon} name="close" /></button></span>`;
}

/** What the words of the question became; a change is another address. */
export function Words({ address, words }) {
  const { classes, read, unknown } = words;
  const change = (group, name, weight) => {
    const next = classes.map((each, at) => {
      if (at !== group) return each;
      const { [name]: before, ...others } = each;
      return weight === null ? others : { ...each, [name]: weight };
    }).filter((each) => Object.keys(each).length);
    const isAsked = next.some((each) => Object.values(each).some((value) => value > 0));
    go(isAsked ? edited(next) : { text: null, classes: null, names: null });
  };
  const names = address.params.get("names") === "true";
  return html`
    <section class="words" aria-label="What the words became">
      ${classes.map((group, at) => html`
        ${at > 0 && Object.values(group)[0] > 0 && html`<b>and</b>`}
        <span class="group">${Object.entries(group).map(([name, weight], number) => html`
          ${number > 0 && weight > 0 && html`<span class="soft">or</span>`}
          <${Class} key=${name} name=${name} weight=${weight} onChange=${(value) => change(at, name, value)} />`)}</span>`)}
      ${address.params.has("classes") && html`<button onClick=${() => go({ classes: null })}>As they were</button>`}
      <label><input type="checkbox" checked=${names} onChange=${() => go({ names: names ? null : "true" })} /> in names of files, too</label>
      ${Object.entries(read).map(([word, near]) => html`<small>${shown(word)} was read as ${shown(near)}.</small>`)}
      ${unknown.length > 0 && html`<small>No label’s name: ${unknown.map(shown).join(", ")}.</small>`}
    </section>`;
}

/** The labels that are asked for. */
export function Labels({ labels }) {
  return html`<section class="words" aria-label="Labels that are asked for">${labels.map((name) => html`
    <span class="chip class">${shown(name)} <button class="plain" aria-label=${`Leave out ${shown(name)}`}
      onClick=${() => go({ label: labels.filter((each) => each !== name) })}><${Icon} name="close" /></button></span>`)}</section>`;
}
