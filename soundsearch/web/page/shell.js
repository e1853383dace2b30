// What is around every view: navigation, theme, what is wrong with the server, the player.
import { html, useEffect, useState } from "./vendor.js";
import { logIn } from "./api.js";
import { Drop } from "./drop.js";
import { Icon } from "./icons.js";
import { Help } from "./keys.js";
import { nameOf, shown, time } from "./names.js";
import { Notice } from "./notice.js";
import { ending, player, seek, stop, toggle, usePosition } from "./player.js";
import { saved, server, useStore } from "./store.js";

const PLACES = [["/", "Ask", "ask"], ["/map", "Map", "map"], ["/library", "Library", "library"],
  ["/tray", "Tray", "tray"]];

const dark = matchMedia("(prefers-color-scheme: dark)");
const look = document.documentElement.dataset;
look.theme = saved.get("theme") ?? "";

function Theme() {
  const [theme, setTheme] = useState(look.theme);
  const [isDark, setDark] = useState(dark.matches);
  useEffect(() => {
    const update = () => setDark(dark.matches);
    dark.addEventListener("change", update);
    return () => dark.removeEventListener("change", update);
  }, []);
  const change = (to) => {
    look.theme = to;
    saved.set("theme", to);
    setTheme(to);
  };
  const other = (theme || (isDark ? "dark" : "light")) === "dark" ? "light" : "dark";
  return html`<button class="plain" aria-label=${`Use ${other} colours`} title=${`Use ${other} colours`}
    onClick=${() => change(other)}><${Icon} name="theme" /></button>`;
}

function Token() {
  const [problem, setProblem] = useState("");
  const submit = (event) => {
    event.preventDefault();
    logIn(event.target.token.value).catch((error) => setProblem(error.message));
  };
  return html`
    <form class="token" onSubmit=${submit}>
      <h1 class="unseen">soundsearch</h1>
      <label for="token">Token of this server</label>
      <span><input id="token" name="token" type="password" required autocomplete="current-password" autofocus />
      <button>Enter</button></span>
      <p class="problem" role="alert">${shown(problem)}</p>
    </form>`;
}

function Player() {
  const { clip, state, message } = useStore(player);
  const at = usePosition();
  if (!clip) return null;
  const isOn = state === "playing" || state === "loading";
  const name = clip.name ?? nameOf(clip.uri ?? "");
  const { start } = player.value, end = ending();
  return html`
    <footer class="player" aria-label="Player">
      <button class="plain" aria-label=${isOn ? "Pause" : "Play"} onClick=${toggle}><${Icon} name=${isOn ? "pause" : "play"} /></button>
      <span class="cut">${name}</span>
      ${state === "failed" ? html`<span class="problem" role="alert">${shown(message)}</span>` : html`
        <input type="range" aria-label="Position" min=${start} max=${Math.max(end, start + 0.1)} step="0.01" value=${at ?? start}
          aria-valuetext=${time(at ?? start)} onInput=${(event) => seek(Number(event.target.value))} />
        <span class="time">${time(at ?? start)} / ${time(end)}</span>`}
      <button class="plain" aria-label="Stop" title="Stop (Esc)" onClick=${stop}><${Icon} name="close" /></button>
    </footer>`;
}

export function Shell({ address, children }) {
  const { isLocked, isLost } = useStore(server);
  return html`
    <header class="top">
      <nav aria-label="Views">${PLACES.map(([path, name, view]) => html`
        <a href=${path} aria-current=${address.view === view ? "page" : null}>${name}</a>`)}</nav>
      <${Help} /><${Theme} />
    </header>
    ${isLost && html`<p class="banner" role="alert">The server does not answer. Waiting for it…</p>`}
    ${isLocked ? html`<main><${Token} /></main>` : null}
    <div class="view" hidden=${isLocked}>${children}</div>
    <${Notice} /><${Player} /><${Drop} />`;
}
