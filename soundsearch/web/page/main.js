// The page: the view that the address names, loaded when it is first shown.
import { html, render, useEffect, useState } from "./vendor.js";
import { useAddress } from "./address.js";
import { shown } from "./names.js";
import { Shell } from "./shell.js";

const VIEWS = {
  ask: () => import("./home.js"),
  clip: () => import("./recording.js"),
  library: () => import("./library.js"),
  map: () => import("./map.js"),
  tray: () => import("./tray.js"),
  lost: async () => ({ default: Lost }),
};

function Lost() {
  useEffect(() => { document.title = "Nothing here – soundsearch"; }, []);
  return html`<main class="lost"><h1>There is nothing at this address.</h1><a href="/">Ask for a sound</a></main>`;
}

function Page() {
  const address = useAddress();
  const [views, setViews] = useState({});
  const { view } = address;
  useEffect(() => {
    if (views[view]) return;
    VIEWS[view]().then(
      (module) => setViews((known) => ({ ...known, [view]: module.default })),
      (error) => setViews((known) => ({ ...known, [view]: () => html`
        <main><p class="problem" role="alert">This view could not be loaded; reload the page. ${shown(error.message)}</p></main>` })),
    );
  }, [view]);
  const View = views[view];
  return html`<${Shell} address=${address}>${View && html`<${View} key=${view} address=${address} />`}<//>`;
}

render(html`<${Page} />`, document.getElementById("page"));
