// Whether the filters are shown.
import { observable } from "./store.js";

/** Where there is little room, filters lie over the answers. */
export const narrow = matchMedia("(max-width: 760px)");

export const panel = observable({ isOpen: !narrow.matches && localStorage.getItem("filters") === "open" });

panel.watch(({ isOpen }) => {
  if (!narrow.matches) localStorage.setItem("filters", isOpen ? "open" : "");
});
