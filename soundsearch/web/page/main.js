// The page: the view that the address names, loaded when it is first shown.
import { Component, html, render, useEffect, useState } from "./vendor.js";
import { useAddress } from "./address.js";
import { api } from "./api.js";
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

/** What is shown in place of a view that cannot be. */
function Broken({ error }) {
  return html`<main><p class="problem" role="alert">This view cannot be shown; reload the page. ${shown(String(error?.message ?? error))}</p></main>`;
}

/** A fault of one view leaves the others. */
class Bounded extends Component {
  componentDidCatch(error) {
    console.error(error);
    this.setState({ error });
  }

  render({ children }, { error }) {
    return error ? html`<${Broken} error=${error} />` : children;
  }
}

/** A view; where the server is lost it is waited for, as it is by all that the page asks. */
async function loaded(view) {
  try {
    return (await VIEWS[view]()).default;
  } catch {
    await api.get("/health");
    return VIEWS[view]().then((module) => module.default, (error) => () => html`<${Broken} error=${error} />`);
  }
}

function Page() {
  const address = useAddress();
  const [views, setViews] = useState({});
  const { view } = address;
  useEffect(() => {
    if (!views[view]) loaded(view).then((found) => setViews((known) => ({ ...known, [view]: found })));
  }, [view]);
  const View = views[view];
  return html`
    <${Shell} address=${address}>
      ${View && html`<${Bounded} key=${view}><${View} address=${address} /><//>`}
    <//>`;
}

render(html`<${Page} />`, document.getElementById("page"));
