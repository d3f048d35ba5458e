// What is wrong now, in one sentence that says what it means for whoever trades here.

import { instrument, on, state } from "./state.js";
import { ago } from "./numbers.js";

const STALE_MS = 1500;
const PHASES = {
  pre_open: ["", "Before the opening: orders gather, nothing trades."],
  auction: ["", "A call: orders gather, and trade in one auction at its end."],
  halted: ["", "Trading is halted: new orders are refused, cancels are taken."],
  cancel_only: ["", "Only cancels are taken now."],
  closed: ["", "The instrument is closed."],
};
const banner = document.getElementById("banner");
let lostAt = performance.now();

export function start() {
  on("link cluster book", draw);
  setInterval(draw, 500);
}

function draw() {
  if (state.link === "open") lostAt = performance.now();
  const [kind, text, isOld] = trouble();
  banner.hidden = !text;
  banner.className = `banner ${kind}`;
  if (banner.textContent !== text) banner.textContent = text;
  document.getElementById("floor").dataset.old = String(isOld);
}

/** [kind, sentence, whether what is shown is of the past] */
function trouble() {
  const { cluster, hello, book } = state;
  if (state.link !== "open") {
    const since = performance.now() - lostAt;
    if (since < 700) return ["", "", false]; // another node is there sooner than a sentence is read
    const place = hello ? `Node ${hello.node_id}` : "The node";
    return ["bad", `${place} does not answer (${ago(since)}). Reconnecting, here and at the other nodes; what is shown is old.`, true];
  }
  if (!cluster) return ["", "", false];
  if (cluster.fenced) return ["bad", `This node has stopped taking part (${cluster.fenced}). Choose another one above.`, true];
  if (cluster.leader_id == null) return ["", `No leader in term ${cluster.term}: the nodes are choosing one. Orders wait; the book is as of ${ago(cluster.age_ms)} ago.`, cluster.age_ms > STALE_MS];
  if (cluster.age_ms > STALE_MS) return ["", `This node last heard from the leader ${ago(cluster.age_ms)} ago: its book may be old.`, true];
  if (book && PHASES[book.phase]) return [...PHASES[book.phase], false];
  if (state.instruments.size === 0) return ["", "No instrument is listed yet.", false];
  if (!instrument()) return ["", `${state.symbol} is not listed any more. Choose another instrument.`, true];
  return ["", "", false];
}
