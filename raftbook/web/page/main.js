// Puts the parts together: frames in, state changed, parts told. Owns the keys of the whole page.

import * as api from "./api.js";
import * as banner from "./banner.js";
import * as chart from "./chart.js";
import * as cluster from "./cluster.js";
import * as form from "./form.js";
import * as header from "./header.js";
import * as ladder from "./ladder.js";
import * as log from "./log.js";
import * as orders from "./orders.js";
import * as tabs from "./tabs.js";
import * as tape from "./tape.js";
import { Feed } from "./feed.js";
import { state, tell } from "./state.js";

const TAPE_KEPT = 60;
let isMoving = false; // the page leaves its node because somebody wants it to

const handlers = {
  hello(frame) {
    const isElsewhere = state.hello && state.hello.node_id !== frame.node_id;
    state.hello = frame;
    api.useNode(feed.origin);
    api.setClock(frame.wall_ms);
    if (isElsewhere) cluster.note(`this page is on node ${frame.node_id} now`);
    isMoving = false;
    tell("node");
  },
  instruments(frame) {
    state.instruments = new Map(frame.instruments.map((each) => [each.symbol, each]));
    if (!state.instruments.has(state.symbol)) {
      const first = frame.instruments[0]?.symbol;
      if (first) choose(first);
    }
    tell("instruments");
  },
  book(frame) {
    if (frame.symbol !== state.symbol) return;
    state.book = frame;
    tell("book");
  },
  tape(frame) {
    if (frame.symbol !== state.symbol) return;
    state.tape = frame.trades;
    tell("tape");
  },
  trades(frame) {
    if (frame.symbol !== state.symbol) return;
    const newest = state.tape[0]?.[0] ?? 0;
    state.tape = [...frame.trades.filter((trade) => trade[0] > newest), ...state.tape].slice(0, TAPE_KEPT);
    tell("tape");
  },
  cluster(frame) {
    state.cluster = frame;
    tell("cluster");
  },
};

function choose(symbol) {
  if (symbol !== state.symbol) {
    state.symbol = symbol;
    state.book = null;
    state.tape = [];
    feed?.choose(symbol);
  }
  const kept = new URLSearchParams(location.search);
  kept.set("symbol", symbol);
  history.replaceState(null, "", `?${kept}${location.hash}`);
  tell("symbol");
}

/** Origins of the other nodes: those that answer first, the leader before the rest. */
function others(current) {
  const { cluster: picture } = state;
  if (!picture) return [location.origin];
  const rank = (row) => (row.reachable ? 0 : 4) + (row.node_id === picture.leader_id ? 0 : 1);
  const rows = picture.nodes.toSorted((a, b) => rank(a) - rank(b));
  const origins = rows.map(cluster.originOf).filter((origin) => origin !== null);
  // Round and round: whoever comes behind the one that was just tried is next.
  // This page's own address works even where those of the members are only their own.
  if (!origins.includes(location.origin)) origins.push(location.origin);
  const at = origins.indexOf(current);
  return at < 0 ? origins : [...origins.slice(at + 1), ...origins.slice(0, at)];
}

function goTo(nodeId) {
  const row = state.cluster?.nodes.find((each) => each.node_id === nodeId);
  const origin = cluster.originOf(row);
  if (!origin || nodeId === state.cluster.node_id) return;
  isMoving = true;
  state.link = "lost";
  tell("link");
  feed.moveTo(origin);
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") return document.activeElement.blur();
  if (/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) && event.target.type !== "radio") return;
  const key = event.key.toLowerCase();
  if (key === "b") form.choose("BUY");
  else if (key === "s") form.choose("SELL");
  else if (key === "l") tabs.show(tabs.shown() === "log" ? "orders" : "log");
  else if (key === "t") header.turnTheme();
  else if (/^[1-9]$/.test(key)) goTo(Number(key));
  else return;
  event.preventDefault();
}

state.symbol = new URLSearchParams(location.search).get("symbol") ?? "";
header.start({ onSymbol: choose });
ladder.start(form.fill);
chart.start();
tape.start();
cluster.start(goTo);
banner.start();
form.start();
tabs.start((name) => log.show(name === "log"));
log.start();
document.addEventListener("keydown", onKey);
const feed = new Feed({
  symbol: state.symbol,
  others,
  onFrame: (frame) => handlers[frame.type]?.(frame),
  onLink(link) {
    if (link === "lost" && state.link === "open" && state.hello && !isMoving) cluster.lose(state.hello.node_id);
    state.link = link;
    tell("link");
  },
});
orders.start();
