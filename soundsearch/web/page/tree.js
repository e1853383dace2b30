// A tree whose nodes can be checked, and searched in: nested lists of checkboxes.
import { html, useMemo, useState } from "./vendor.js";
import { count, shown } from "./names.js";

// Nodes that are listed of those that a search finds.
const FOUND = 60;

/**
 * @typedef {{key: string, path: string[], clips: number}} Node
 *   `key`: what is checked; `path`: names from the top down to its own
 */

function grown(nodes) {
  const root = { below: new Map() };
  for (const node of nodes) {
    let at = root;
    for (const name of node.path) {
      if (!at.below.has(name)) at.below.set(name, { name, node: null, below: new Map() });
      at = at.below.get(name);
    }
    at.node = node;
  }
  return root;
}

const sorted = (below) => [...below.values()].sort((one, other) =>
  (other.node?.clips ?? 0) - (one.node?.clips ?? 0) || one.name.localeCompare(other.name));

function Check({ node, name, chosen, onToggle, more = "" }) {
  return html`
    <label class="check" title=${shown(node.path.join(" › "))}>
      <input type="checkbox" checked=${chosen.has(node.key)} onChange=${() => onToggle(node.key)} />
      <span class="cut">${shown(name)} ${more && html`<small>${shown(more)}</small>`}</span>
      <small class="count">${count(node.clips)}<span class="unseen"> clips</span></small>
    </label>`;
}

function Branch({ branch, open, onOpen, prefix, ...rest }) {
  const at = `${prefix}\u0000${branch.name}`;
  const isOpen = open.has(at);
  return html`
    <li>
      <div class="branch">
        ${branch.below.size ? html`
          <button class="plain" aria-expanded=${isOpen} aria-label=${`Within ${shown(branch.name)}`} onClick=${() => onOpen(at)}>${isOpen ? "▾" : "▸"}</button>`
          : html`<span></span>`}
        ${branch.node ? html`<${Check} node=${branch.node} name=${branch.name} ...${rest} />` : html`<span class="cut">${shown(branch.name)}</span>`}
      </div>
      ${isOpen && html`<${Branches} below=${branch.below} open=${open} onOpen=${onOpen} prefix=${at} ...${rest} />`}
    </li>`;
}

const Branches = ({ below, ...rest }) => html`
  <ul>${sorted(below).map((branch) => html`<${Branch} key=${branch.name} branch=${branch} ...${rest} />`)}</ul>`;

/** Where the chosen nodes are, so that they are seen at once. */
function opened(nodes, chosen) {
  const open = new Set();
  for (const { key, path } of nodes) {
    if (chosen.has(key)) path.slice(0, -1).reduce((at, name) => { open.add(`${at}\u0000${name}`); return `${at}\u0000${name}`; }, "");
  }
  return open;
}

/** @param {{nodes: Node[], chosen: Set<string>, onToggle: (key: string) => void, label: string}} props */
export function Tree({ nodes, chosen, onToggle, label }) {
  const [typed, setTyped] = useState("");
  const [open, setOpen] = useState(() => opened(nodes, chosen));
  const root = useMemo(() => grown(nodes), [nodes]);
  const onOpen = (at) => setOpen((known) => {
    const next = new Set(known);
    if (!next.delete(at)) next.add(at);
    return next;
  });
  const words = typed.toLowerCase().split(/\s+/).filter(Boolean);
  const found = words.length ? nodes.filter(({ path }) => words.every((word) => path.at(-1).toLowerCase().includes(word))) : [];
  found.sort((one, other) => other.clips - one.clips);
  const known = new Set(nodes.map((node) => node.key));
  // What the filter names and no clip has, or has under another name.
  const others = [...chosen].filter((key) => !known.has(key)).map((key) => ({ key, path: [key], clips: 0 }));
  const rest = { chosen, onToggle };
  return html`
    ${nodes.length > 8 && html`<input type="search" aria-label=${`Search ${label}`} placeholder="Search" value=${typed}
      onInput=${(event) => setTyped(event.target.value)} />`}
    <div class="tree">
      ${others.length > 0 && html`<ul>${others.map((node) => html`<li key=${node.key}><${Check} node=${node} name=${node.key} ...${rest} /></li>`)}</ul>`}
      ${words.length ? html`
        <ul aria-label=${`${label} found`}>${found.slice(0, FOUND).map((node) => html`
          <li key=${node.key}><${Check} node=${node} name=${node.path.at(-1)} more=${node.path.at(-2)} ...${rest} /></li>`)}</ul>
        <p class="soft" role="status">${found.length > FOUND ? `${FOUND} of ${count(found.length)}` : found.length ? "" : "None"}</p>`
        : html`<${Branches} below=${root.below} open=${open} onOpen=${onOpen} prefix="" ...${rest} />`}
    </div>`;
}
