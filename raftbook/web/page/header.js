// The line on top: last price, change, spread, the day, and how the page is connected.

import { on, state, instrument } from "./state.js";
import { percent, unit } from "./numbers.js";

const get = (id) => document.getElementById(id);
let lastShown = null;

export function start({ onSymbol }) {
  get("symbol").addEventListener("change", (event) => onSymbol(event.target.value));
  get("theme").addEventListener("click", turnTheme);
  const kept = localStorage.getItem("theme");
  if (kept) document.documentElement.dataset.theme = kept;
  on("instruments symbol", drawInstruments);
  on("book instruments", draw);
  on("link cluster", drawLink);
}

export function turnTheme() {
  const root = document.documentElement;
  const isDark = getComputedStyle(root).colorScheme === "dark";
  root.dataset.theme = isDark ? "light" : "dark";
  localStorage.setItem("theme", root.dataset.theme);
  dispatchEvent(new Event("theme"));
}

function drawInstruments() {
  const select = get("symbol");
  const symbols = [...state.instruments.keys()];
  if (symbols.join() !== [...select.options].map((option) => option.value).join()) {
    select.replaceChildren(...symbols.map((symbol) => new Option(symbol, symbol)));
  }
  select.value = state.symbol;
}

function draw() {
  const { book } = state;
  const terms = instrument();
  if (!book || !terms) return;
  const tick = unit(terms.tick_size);
  const lot = unit(terms.lot_size);
  const { day, last } = book;
  const moved = last !== null && lastShown !== null && last !== lastShown ? Math.sign(last - lastShown) : 0;
  get("last").textContent = last === null ? "–" : tick.text(last);
  if (moved) get("last").className = moved > 0 ? "buy-text" : "sell-text";
  lastShown = last;
  const change = day && last !== null ? last - day.open : 0;
  get("change").textContent = day ? `${change > 0 ? "▲" : change < 0 ? "▼" : ""} ${percent(change, day.open)}` : "no trade yet";
  get("change").className = change > 0 ? "buy-text" : change < 0 ? "sell-text" : "dim";
  get("high").textContent = day ? tick.text(day.high) : "–";
  get("low").textContent = day ? tick.text(day.low) : "–";
  get("volume").textContent = day ? `${lot.text(day.qty)} ${terms.base}` : "–";
  get("phase").textContent = book.phase.replace("_", " ");
  get("spread").textContent = spreadText(book, tick);
  document.title = last === null ? `${state.symbol} · raftbook` : `${tick.text(last)} ${state.symbol} · raftbook`;
}

/** The distance between the best prices; what is missing, if one is. */
export function spreadText(book, tick) {
  const bid = book.bids[0]?.[0];
  const ask = book.asks[0]?.[0];
  if (bid === undefined && ask === undefined) return "empty book";
  if (bid === undefined) return "no bids";
  if (ask === undefined) return "no asks";
  return `${tick.text(ask - bid)} (${percent(ask - bid, (ask + bid) / 2).replace("+", "")})`;
}

function drawLink() {
  const { cluster, hello } = state;
  const isOpen = state.link === "open";
  const own = cluster?.nodes.find((row) => row.node_id === cluster.node_id);
  const isStale = isOpen && (cluster?.leader_id == null || cluster.age_ms > 1500);
  get("link").dataset.link = isOpen ? (isStale ? "stale" : "open") : "lost";
  get("link-text").textContent = !isOpen ? "reconnecting" : `node ${hello?.node_id ?? "?"} · ${own?.fenced ? "fenced" : own?.role ?? "…"}`;
  get("version").textContent = hello ? `${hello.cluster} · raftbook ${hello.version}` : "";
}
