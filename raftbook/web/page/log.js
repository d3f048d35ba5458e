// The log, entry by entry, as the node on which the page is applied it.

import { read } from "./api.js";
import { on, state } from "./state.js";
import { clock, grouped } from "./numbers.js";

const EVERY_MS = 700;
const SHOWN = 120;
const FIRST = 60;
const list = document.getElementById("log");
let next = 0;
let isShown = false;
let timer = null;

export function start() {
  on("node", () => { next = 0; list.replaceChildren(); });
}

export function show(isNow) {
  isShown = isNow;
  clearTimeout(timer);
  if (isNow) goOn();
}

async function goOn() {
  try {
    if (state.link === "open" && !document.hidden) {
      const page = await read(`/v1/log?${next ? `from=${next}&` : ""}limit=${FIRST}`);
      if (next && next < page.first_kept) list.replaceChildren(); // slower than the market
      next = page.next;
      list.prepend(...page.entries.reverse().map(rowOf));
      while (list.children.length > SHOWN) list.lastChild.remove();
    }
  } catch {
    // The node is gone for a moment: the header says so, and the next turn asks again.
  }
  if (isShown) timer = setTimeout(goOn, EVERY_MS);
}

function rowOf(entry) {
  const row = document.createElement("li");
  const cell = (name, text) => row.append(Object.assign(document.createElement("span"), { className: name, textContent: text }));
  cell("index", grouped(String(entry.index)));
  cell("term", `t${entry.term}`);
  cell("when", clock(entry.time_ns / 1e6));
  cell("what", sentence(entry));
  row.title = JSON.stringify(entry.events, null, 1).slice(0, 4000);
  return row;
}

function sentence(entry) {
  if (!entry.event_count) return entry.requests ? `${entry.requests} request${entry.requests > 1 ? "s" : ""}, no event` : "time goes on";
  const told = entry.events.slice(0, 6).map(words);
  const more = entry.event_count - told.length;
  return told.join("; ") + (more > 0 ? `; and ${more} more` : "");
}

function words(event) {
  const where = event.symbol && event.symbol !== state.symbol ? `${event.symbol} ` : "";
  switch (event.kind) {
    case "add": return `${where}${event.side} ${event.qty} @ ${event.price} rests (order ${event.order_id})`;
    case "trade": return `${where}trade ${event.trade_id}: ${event.qty} @ ${event.price}, ${event.taker_side === "buy" ? "a buyer" : "a seller"} took ${event.maker_order_id ? `order ${event.maker_order_id}` : "a hidden order"}`;
    case "cross": return `${where}auction trade ${event.trade_id}: ${event.qty} @ ${event.price}`;
    case "reduce": return `${where}order ${event.order_id} has ${event.qty} left`;
    case "delete": return `${where}order ${event.order_id} leaves (${event.event})`;
    case "phase": return `${where}phase ${event.phase}`;
    case "uncross": return `${where}auction: ${event.volume} at ${event.price ?? "no price"}`;
    case "bust": return `${where}trade ${event.trade_id} busted`;
    default: return `${where}${(event.kind ?? event.event).replaceAll("_", " ")}${event.reason ? ` (${event.reason.replaceAll("_", " ")})` : ""}`;
  }
}
