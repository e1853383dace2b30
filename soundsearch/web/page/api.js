// The server's API. What can be tried again is: a busy server, a lost one, one that wants a token.
import { server } from "./store.js";

const ROOT = "/api/v1";
// Of a busy server, and of answers that break off; a server that is lost is waited for.
const TRIES = 5;
// What is asked by POST and changes nothing.
const READS = ["/query", "/recommend"];

/** An answer that is an error: `status` (0 where there was no answer), `error`, `message`. */
export class ApiError extends Error {
  constructor(status, error, message) {
    super(message);
    Object.assign(this, { name: "ApiError", status, error });
  }
}

/** The address of something of the API; a parameter that is null is left out. */
export function url(path, params = {}) {
  const given = new URLSearchParams();
  const all = params instanceof URLSearchParams ? [...params] : Object.entries(params);
  for (const [name, value] of all) {
    for (const each of [value].flat()) if (each !== null && each !== undefined) given.append(name, each);
  }
  const text = given.toString();
  return `${ROOT}${path}${text && "?"}${text}`;
}

const pause = (seconds, signal) => new Promise((resolve, reject) => {
  const stop = () => { clearTimeout(timer); reject(signal.reason); };
  const timer = setTimeout(() => {
    signal?.removeEventListener("abort", stop);
    resolve();
  }, 1000 * seconds);
  if (signal?.aborted) stop();
  signal?.addEventListener("abort", stop, { once: true });
});

/** Something that all wait for: begun by the first, until it is over. */
function shared(begin) {
  let running = null;
  return (signal) => {
    running ??= begin().finally(() => { running = null; });
    const over = running;
    return !signal ? over : new Promise((resolve, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason), { once: true });
      over.then(resolve, reject);
    });
  };
}

const found = shared(async () => {
  server.set({ isLost: true });
  for (let wait = 1; ; wait = Math.min(5, wait + 1)) {
    await pause(wait);
    const answer = await fetch(`${ROOT}/health`).catch(() => null);
    if (answer?.ok) break;
  }
  server.set({ isLost: false });
});

let unlock = () => {};
const unlocked = shared(async () => {
  server.set({ isLocked: true });
  await new Promise((resolve) => { unlock = resolve; });
  server.set({ isLocked: false });
});

/** Give the server its token; raises ApiError where it is another. */
export async function logIn(token) {
  await api.post("/session", { token });
  unlock();
}

/** Send by XMLHttpRequest, which tells how much was sent. */
function uploaded(method, address, body, signal, onProgress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open(method, address);
    request.responseType = "blob";
    request.upload.onprogress = (event) => onProgress(event.loaded, event.total);
    request.onload = () => resolve(new Response(request.response, {
      status: request.status,
      headers: { "Retry-After": request.getResponseHeader("Retry-After") ?? "" },
    }));
    request.onerror = () => reject(new TypeError("not sent"));
    request.onabort = () => reject(signal?.reason ?? new DOMException("", "AbortError"));
    signal?.addEventListener("abort", () => request.abort(), { once: true });
    request.send(body);
  });
}

async function problemOf(response) {
  const told = await response.json().catch(() => ({}));
  const { error = "Unknown", message = `the server answered ${response.status}` } = told;
  return new ApiError(response.status, error, message);
}

/**
 * The response to a request; raises ApiError, or what `signal` was aborted with.
 * @param {string} method
 * @param {string} path
 * @param {{params?: any, body?: any, signal?: AbortSignal, take?: (response: Response) => any,
 *   onProgress?: (sent: number, all: number) => void}} options `body`: a FormData, or what becomes JSON;
 *   `take`: what is given in place of the response, whose body may break off
 */
export async function request(method, path, { params, body, signal, onProgress, take = (response) => response } = {}) {
  const isForm = body instanceof FormData;
  const content = body === undefined || isForm ? body : JSON.stringify(body);
  const headers = content === undefined || isForm ? {} : { "Content-Type": "application/json" };
  const isRead = method === "GET" || READS.includes(path);
  for (let tries = 1; ; tries += 1) {
    signal?.throwIfAborted();
    let response;
    try {
      response = onProgress ? await uploaded(method, url(path, params), content, signal, onProgress)
        : await fetch(url(path, params), { method, headers, body: content, signal });
      if (response.ok) return await take(response);
    } catch (error) {
      if (signal?.aborted) throw error;
      if (!isRead || (response && tries >= TRIES)) throw new ApiError(0, "ServerLost", "the server does not answer");
      await found(signal);
      continue;
    }
    const problem = await problemOf(response);
    if (problem.status === 401 && path !== "/session") {
      await unlocked(signal);
    } else if (problem.status === 503 && problem.error !== "LibraryNotFound" && tries < TRIES) {
      await pause(Number(response.headers.get("Retry-After")) || 1, signal);
    } else {
      throw problem;
    }
  }
}

const json = (method, path, options) => request(method, path, { ...options, take: (response) => response.json() });

/** What is at a path, as a file. */
export const blob = (method, path, options) => request(method, path, { ...options, take: (response) => response.blob() });

export const api = {
  /** What is at a path, as JSON. */
  get: (path, params, options = {}) => json("GET", path, { params, ...options }),
  /** What comes of a body, as JSON. */
  post: (path, body, options = {}) => json("POST", path, { body, ...options }),
  delete: (path, options = {}) => json("DELETE", path, options),
};
