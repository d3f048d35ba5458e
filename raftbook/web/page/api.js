// Signed requests to the node that the page is on, and what their answers mean.
// Owns the three ways an answer can be missing: refused, not accepted, unknown.

import { hmac } from "./sign.js";
import { state } from "./state.js";

const PATIENCE_MS = 8000;
let origin = location.origin;
let clockOffsetMs = 0;

export function useNode(nodeOrigin) {
  origin = nodeOrigin;
}

/** The node's clock counts: a signature is good for some seconds of it. */
export function setClock(wallMs) {
  clockOffsetMs = wallMs - Date.now();
}

/**
 * @returns {Promise<{kind: "ok"|"refused"|"not_accepted"|"unknown", body, message, ms, entry, term, node}>}
 *   "unknown": it may have happened. Only a request that changes nothing may be repeated freely.
 */
export async function call(method, path, parameters = {}, { signed = true } = {}) {
  const query = new URLSearchParams(parameters);
  const headers = {};
  if (signed) {
    query.set("recvWindow", "5000");
    query.set("timestamp", String(Date.now() + clockOffsetMs));
    query.set("signature", hmac(state.account.secret, query.toString()));
    headers["X-MBX-APIKEY"] = state.account.key;
  }
  const began = performance.now();
  let answer;
  let body;
  try {
    answer = await fetch(`${origin}${path}?${query}`, { method, headers, signal: AbortSignal.timeout(PATIENCE_MS) });
    body = await answer.json();
  } catch {
    return { kind: "unknown", message: "the connection was lost before an answer came", ms: performance.now() - began };
  }
  const told = {
    body,
    ms: performance.now() - began,
    message: body?.msg ?? "",
    node: answer.headers.get("x-raftbook-node"),
    term: answer.headers.get("x-raftbook-term"),
    entry: answer.headers.get("x-raftbook-entry") ?? answer.headers.get("x-raftbook-applied"),
  };
  if (answer.ok) return { kind: "ok", ...told };
  if (answer.status === 504 || body?.code === -1007) return { kind: "unknown", ...told };
  if (answer.status === 503 || answer.status === 429) return { kind: "not_accepted", ...told };
  return { kind: "refused", ...told };
}

/** A document of /v1. */
export async function read(path) {
  const answer = await fetch(`${origin}${path}`, { signal: AbortSignal.timeout(PATIENCE_MS) });
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}
