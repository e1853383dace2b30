// What the library holds, and what is shown where it holds nothing.
import { html, useEffect } from "./vendor.js";
import { api } from "./api.js";
import { shown } from "./names.js";
import { observable, useStore } from "./store.js";

/** The API's facts of the library; `problem` where there are none. */
export const library = observable({ info: null, problem: null });

// How long until a library that is empty is looked at again, milliseconds.
const AGAIN = 2000;

/** Ask for the facts anew. */
export async function refresh() {
  try {
    library.set({ info: await api.get("/info"), problem: null });
  } catch (problem) {
    library.set({ info: null, problem });
  }
}

/** Keep the facts up to date for as long as there are no clips. */
export function useLibrary() {
  const { info, problem } = useStore(library);
  const isEmpty = info?.clips === 0 || problem?.error === "LibraryNotFound";
  useEffect(() => { if (!info) refresh(); }, []);
  useEffect(() => {
    if (!isEmpty) return undefined;
    const timer = setInterval(refresh, AGAIN);
    return () => clearInterval(timer);
  }, [isEmpty]);
  return { info, problem, isEmpty };
}

/** What is said in place of answers where there is nothing to be found. */
export function Nothing() {
  const { info, problem } = useStore(library);
  // The message of a library that is not there ends with the command, too.
  const command = info?.ingest ?? problem?.message.split(" with: ")[1];
  return html`
    <section class="nothing" role="status">
      <h2>Nothing here yet</h2>
      ${command && html`<p>Fill the library with a folder of sounds:</p><p><code>${shown(command)}</code></p>`}
    </section>`;
}
