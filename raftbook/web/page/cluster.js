// The cluster strip: each node with its role and how far it is, and what just happened to them.

import { on, state } from "./state.js";
import { ago, clock, grouped } from "./numbers.js";

const NOTES = 12; // as many as there is room for are shown
const SETTLING_MS = 2500;
const get = (id) => document.getElementById(id);
const notes = [];
let before = null;
let hereId = null;
let settledAt = 0; // what another node has not heard from the others yet is no news
const gone = new Set(); // nodes of which it was said that they do not answer
let onNode = () => {};

export function start(listener) {
  onNode = listener;
  on("cluster link", draw);
  on("node", () => {
    if (state.hello.node_id !== hereId) settledAt = performance.now() + SETTLING_MS;
    hereId = state.hello.node_id;
  });
}

/** Where a node's page is; null if it has none that this page may talk to. */
export function originOf(row) {
  if (!row?.http_address || location.protocol !== "http:") return null;
  const [, host, port] = /^(.*):(\d+)$/.exec(row.http_address);
  // What is this machine to the node is the host in the address bar to whoever looks at it.
  const isLoopback = /^(127\.|localhost$|\[?::1\]?$)/.test(host);
  return `http://${isLoopback ? location.hostname : host}:${port}`;
}

export function note(text, kind = "") {
  notes.unshift({ at: Date.now(), text, kind });
  notes.length = Math.min(notes.length, NOTES);
  get("notes").replaceChildren(...notes.map(({ at, text: words }) => {
    const item = document.createElement("li");
    const time = document.createElement("time");
    time.textContent = clock(at);
    item.append(time, words);
    item.title = words;
    return item;
  }));
}

function draw() {
  const { cluster } = state;
  if (!cluster) return;
  if (state.link === "open" && cluster !== before) tellChanges(cluster);
  const list = get("nodes");
  const ids = cluster.nodes.map((row) => String(row.node_id));
  if ([...list.children].map((item) => item.dataset.id).join() !== ids.join()) {
    list.replaceChildren(...ids.map(makeNode));
  }
  cluster.nodes.forEach((row, at) => drawNode(list.children[at].firstChild, row, cluster));
  const isConnected = state.link === "open";
  get("quorum").textContent = !isConnected ? "as last seen"
    : cluster.leader_id == null ? "no leader: orders wait"
      : cluster.healthy ? `${cluster.quorum} of ${cluster.voters} needed; ${cluster.tolerates ? `may lose ${cluster.tolerates} more` : "none to spare"}`
        : "no quorum: orders wait";
  before = cluster;
}

function makeNode(id) {
  const item = document.createElement("li");
  item.dataset.id = id;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "node";
  button.innerHTML = '<span class="dot" aria-hidden="true"></span><span class="name"></span><span class="role"></span><span class="facts"></span>';
  button.addEventListener("click", () => onNode(Number(id)));
  item.append(button);
  return item;
}

function drawNode(button, row, cluster) {
  const isHere = row.node_id === cluster.node_id;
  const isUp = isHere ? state.link === "open" : row.reachable;
  const role = row.fenced ? "fenced" : isUp ? (row.voter ? row.role : "learner") : "unreachable";
  button.dataset.role = isUp ? role ?? "" : "";
  button.dataset.state = row.fenced ? "fenced" : isUp ? "up" : "down";
  button.setAttribute("aria-current", String(isHere));
  button.disabled = isHere || !originOf(row);
  button.title = isHere ? "You are on this node" : originOf(row) ? `Go on at node ${row.node_id}` : "";
  const [, name, roleText, facts] = button.children;
  name.replaceChildren(`Node ${row.node_id}`);
  if (isHere) name.append(Object.assign(document.createElement("i"), { textContent: "here" }));
  roleText.textContent = role ?? "…";
  facts.replaceChildren(...factsOf(row, { isUp, isHere }));
}

function factsOf(row, { isUp, isHere }) {
  const facts = [];
  const add = (label, value, name = "") => {
    const fact = document.createElement("span");
    fact.className = name;
    fact.append(`${label} `, Object.assign(document.createElement("b"), { textContent: value }));
    facts.push(fact);
  };
  if (!isUp) {
    if (row.seen_ms_ago !== null && !isHere) add("last heard", `${ago(row.seen_ms_ago)} ago`);
    if (row.applied_index !== null) add("had", grouped(String(row.applied_index)));
    return facts;
  }
  add("applied", grouped(String(row.applied_index ?? "–")));
  add("lag", String(row.lag ?? "–"), row.lag > 200 ? "lag" : "");
  add("term", String(row.term ?? "–"));
  if (row.commit_index !== null) add("commit", grouped(String(row.commit_index)));
  if (row.digest) {
    add("digest", `${row.digest.slice(0, 8)} ${{ true: "✓", false: "✗ differs" }[row.agrees] ?? ""}`, row.agrees === false ? "differs" : "");
    facts.at(-1).title = "✓: at the same entry this node has the same digest";
  }
  return facts;
}

function isLost(old, row) {
  if (old.connected && !row.connected) return true;
  return old.reachable && !row.reachable && performance.now() > settledAt;
}

/** A node does not answer, which is said once. */
export function lose(nodeId) {
  if (gone.has(nodeId)) return;
  gone.add(nodeId);
  note(`node ${nodeId} does not answer`);
}

/** Puts into words what is different from the last picture. */
function tellChanges(cluster) {
  if (!before) {
    if (!notes.length && cluster.leader_id != null) note(`node ${cluster.leader_id} leads term ${cluster.term}`);
    return;
  }
  if (cluster.leader_id !== before.leader_id) {
    if (cluster.leader_id == null) note("no leader: an election runs");
    else note(`node ${cluster.leader_id} leads term ${cluster.term}`);
  }
  const known = new Map(before.nodes.map((row) => [row.node_id, row]));
  for (const row of cluster.nodes) {
    const old = known.get(row.node_id);
    if (!old) note(`node ${row.node_id} joined`);
    else if (isLost(old, row)) lose(row.node_id);
    else if (row.reachable && gone.delete(row.node_id)) note(`node ${row.node_id} is back`);
    else if (row.fenced && !old.fenced) note(`node ${row.node_id} is fenced: ${row.fenced}`);
  }
  for (const id of known.keys()) if (!cluster.nodes.some((row) => row.node_id === id)) note(`node ${id} was removed`);
}
