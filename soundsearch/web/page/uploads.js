// Sounds that are asked with, kept by this browser so that reload and back find them again.
import { ApiError, api } from "./api.js";

// The latest are kept: this many, and of this many bytes.
const MOST = 20, MOST_BYTES = 200 * 2 ** 20;
const STORE = "sounds";

/** Those of this page, which need not fit what is kept. @type {Map<string, File>} */
const here = new Map();
/** @type {Map<string, string>} */
const urls = new Map();

const done = (request) => new Promise((resolve, reject) => {
  request.onsuccess = () => resolve(request.result);
  request.onerror = () => reject(request.error);
});

let database = null;
async function store(mode) {
  database ??= (() => {
    const request = indexedDB.open("soundsearch", 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "digest" });
    return done(request);
  })();
  return (await database).transaction(STORE, mode).objectStore(STORE);
}

async function put(digest, file) {
  const sounds = await store("readwrite");
  await done(sounds.put({ digest, file, used: Date.now() }));
  const all = (await done(sounds.getAll())).sort((one, other) => other.used - one.used);
  let bytes = 0;
  all.forEach((each, at) => {
    bytes += each.file.size;
    if (at >= MOST || bytes > MOST_BYTES) sounds.delete(each.digest);
  });
}

async function digestOf(file) {
  // Browsers give digests to pages of this machine and of https alone; others get a name by chance.
  const bytes = crypto.subtle ? await crypto.subtle.digest("SHA-256", await file.arrayBuffer())
    : crypto.getRandomValues(new Uint8Array(32));
  return [...new Uint8Array(bytes).slice(0, 16)].map((each) => each.toString(16).padStart(2, "0")).join("");
}

let limits = null;

/**
 * Keep a file; gives what it is called in an address.
 * @param {File} file
 * @returns {Promise<string>} raises ApiError where it is more than the server takes
 */
export async function keepSound(file) {
  limits ??= await api.get("/info").then((info) => info.limits, () => null);
  if (limits && file.size > limits.upload_bytes) {
    const size = `${Math.floor(limits.upload_bytes / 2 ** 20)} MB`;
    throw new ApiError(413, "TooLarge", `${file.name} has more than ${size}, all that this server takes; give a part of the sound`);
  }
  const digest = await digestOf(file).catch(() => {
    throw new ApiError(0, "NoFile", `${file.name} cannot be read; is it a folder, or gone?`);
  });
  here.set(digest, file);
  // A browser that keeps nothing still has it until it leaves the page.
  await put(digest, file).catch(() => {});
  return digest;
}

/** The file with a digest; raises ApiError where this browser has none. */
export async function soundOf(digest) {
  let file = here.get(digest);
  if (!file) {
    const found = await store("readonly").then((sounds) => done(sounds.get(digest))).catch(() => null);
    if (!found) {
      throw new ApiError(0, "NoSound", "The sound of this address is not in this browser: it was asked with in "
        + "another one, or long ago. Drop it here to ask with it again.");
    }
    file = found.file;
    here.set(digest, file);
    put(digest, file).catch(() => {});
  }
  return file;
}

/** Where a player finds the file with a digest. */
export async function urlOf(digest) {
  if (!urls.has(digest)) urls.set(digest, URL.createObjectURL(await soundOf(digest)));
  return urls.get(digest);
}
