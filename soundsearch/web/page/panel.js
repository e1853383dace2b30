// Whether the filters are shown.
import { observable, saved } from "./store.js";

/** Where there is little room, filters lie over the answers. */
export const narrow = matchMedia("(max-width: 760px)");

export const panel = observable({ isOpen: !narrow.matches && saved.get("filters") === "open" });

panel.watch(({ isOpen }) => {
  if (!narrow.matches) saved.set("filters", isOpen ? "open" : "");
});
