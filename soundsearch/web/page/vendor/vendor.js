// What the page takes from others, in one file: see package.json for the versions, CONTRIBUTING.md
// for how it is made.
import { h } from "preact";
import htm from "htm";

export { Component, Fragment, createContext, h, render } from "preact";
export {
  useCallback, useContext, useEffect, useLayoutEffect, useMemo, useRef, useState,
} from "preact/hooks";
export { default as WaveSurfer } from "wavesurfer.js";
export { default as Regions } from "wavesurfer.js/plugins/regions";

/** Markup as preact's elements; what is put into it becomes text. */
export const html = htm.bind(h);
