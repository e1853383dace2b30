// The view of "/": a question and its answer.
import { html, useEffect } from "./vendor.js";
import { Answers, titleOf } from "./answers.js";
import { Ask } from "./ask.js";
import { useClip } from "./clips.js";
import { Filters } from "./filters.js";
import { Nothing, useLibrary } from "./library_state.js";
import { useAnswer } from "./question.js";
import { Steer } from "./steer.js";

export default function Home({ address }) {
  const answer = useAnswer(address);
  const { isEmpty } = useLibrary();
  const parts = { address, answer };
  const title = titleOf(address, useClip(address.params.get("clip")));
  useEffect(() => { document.title = title ? `${title} – soundsearch` : "soundsearch"; }, [title]);
  return html`
    <main class="home">
      <h1 class="unseen">${title || "Ask for a sound"}</h1>
      <div class="asking"><${Ask} ...${parts} /><${Steer} ...${parts} /></div>
      ${isEmpty && html`<${Nothing} />`}
      <div class="answering"><${Filters} ...${parts} /><${Answers} ...${parts} /></div>
    </main>`;
}
