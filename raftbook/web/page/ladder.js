// The ladder: a fixed number of rows, so that prices move through it and nothing jumps.
// Owns the rows; a click or Enter hands a price on.

import { instrument, on, state } from "./state.js";
import { unit } from "./numbers.js";
import { spreadText } from "./header.js";

const ROWS = 14;
const get = (id) => document.getElementById(id);
const sides = { asks: [], bids: [] };
let onPrice = () => {};

export function start(listener) {
  onPrice = listener;
  for (const side of ["asks", "bids"]) {
    const group = get(side);
    for (let at = 0; at < ROWS; at += 1) group.append(makeRow(side, at));
    // The best ask is the last row of its group.
    if (side === "asks") sides.asks.reverse();
  }
  sides.bids[0].row.tabIndex = 0;
  get("ladder").addEventListener("keydown", onKey);
  on("book orders symbol instruments", draw);
}

function makeRow(side, at) {
  const row = document.createElement("div");
  row.className = "ladder-row level is-void";
  row.setAttribute("role", "row");
  row.tabIndex = -1;
  const cells = ["price", "qty", "total"].map((name) => {
    const cell = document.createElement("span");
    cell.className = name;
    cell.setAttribute("role", "gridcell");
    row.append(cell);
    return cell;
  });
  const entry = { row, cells, shown: [], price: null, side };
  row.addEventListener("click", () => choose(entry));
  sides[side].push(entry);
  return row;
}

function choose(entry) {
  if (entry.price === null) return;
  onPrice({ price: entry.price, side: entry.side, total: entry.total });
}

function onKey(event) {
  const order = [...sides.asks].reverse().concat(sides.bids);
  const at = order.findIndex((entry) => entry.row === document.activeElement);
  if (at < 0) return;
  if (event.key === "Enter" || event.key === " ") choose(order[at]);
  else if (event.key === "ArrowUp") order[Math.max(0, at - 1)].row.focus();
  else if (event.key === "ArrowDown") order[Math.min(order.length - 1, at + 1)].row.focus();
  else return;
  event.preventDefault();
}

function draw() {
  const { book } = state;
  const terms = instrument();
  if (!book || !terms) return;
  const tick = unit(terms.tick_size);
  const lot = unit(terms.lot_size);
  const own = ownLevels();
  const totals = { asks: 0, bids: 0 };
  for (const side of ["asks", "bids"]) for (const level of book[side].slice(0, ROWS)) totals[side] += level[1];
  const most = Math.max(totals.asks, totals.bids, 1);
  for (const side of ["asks", "bids"]) {
    let total = 0;
    sides[side].forEach((entry, at) => {
      const level = book[side][at];
      total += level ? level[1] : 0;
      show(entry, level, total, { tick, lot, most, own: own.get(`${side} ${level?.[0]}`) });
    });
  }
  get("middle-last").textContent = book.last === null ? "no trade yet" : tick.text(book.last);
  get("middle-spread").textContent = book.bids.length && book.asks.length ? `spread ${spreadText(book, tick)}` : spreadText(book, tick);
  get("book-as-of").textContent = `entry ${book.applied_index}`;
}

function show(entry, level, total, { tick, lot, most, own }) {
  const { row, cells } = entry;
  entry.price = level ? level[0] : null;
  entry.total = total;
  const texts = level ? [tick.text(level[0]), lot.text(level[1]), lot.text(total)] : ["·", "", ""];
  if (level && entry.shown[0] === texts[0] && entry.shown[1] !== texts[1]) flash(row, entry.side);
  texts.forEach((text, at) => {
    if (entry.shown[at] !== text) cells[at].textContent = text;
  });
  entry.shown = texts;
  row.classList.toggle("is-void", !level);
  row.style.setProperty("--share", level ? (total / most).toFixed(3) : "0");
  if (own) row.dataset.own = own;
  else delete row.dataset.own;
  row.title = level ? `${level[2]} order${level[2] === 1 ? "" : "s"}${own ? `, ${own} of it yours` : ""}` : "";
}

function flash(row, side) {
  const name = side === "asks" ? "flash-sell" : "flash-buy";
  row.classList.remove(name);
  void row.offsetWidth; // begins the animation anew
  row.classList.add(name);
}

/** Size of own orders by side and price. */
function ownLevels() {
  const terms = instrument();
  const tick = unit(terms.tick_size);
  const found = new Map();
  for (const order of state.orders) {
    if (order.market !== state.symbol || order.status === "PENDING_NEW") continue;
    const price = tick.count(order.price);
    const key = `${order.side === "BUY" ? "bids" : "asks"} ${price}`;
    found.set(key, (found.get(key) ?? 0) + Number(order.origQty) - Number(order.executedQty));
  }
  return found;
}
