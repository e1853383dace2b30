// Sounds that are asked with, kept by this browser.
import { ApiError } from "./api.js";

/** The file with a digest; raises ApiError where this browser has none. */
export async function soundOf(digest) {
  throw new ApiError(0, "NoSound", `the sound ${digest.slice(0, 8)} is not in this browser`);
}
