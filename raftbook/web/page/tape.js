// The tape: trades as they happen, newest on top, with an arrow for whoever took.

import { instrument, on, state } from "./state.js";
import { clock, unit } from "./numbers.js";

const ROWS = 40;
const list = document.getElementById("tape");
let newest = 0;

export function start() {
  for (let at = 0; at < ROWS; at += 1) {
    const row = document.createElement("li");
    row.className = "tape-row";
    row.append(...[0, 1, 2].map(() => document.createElement("span")));
    list.append(row);
  }
  on("tape symbol instruments", draw);
}

function draw() {
  const terms = instrument();
  if (!terms) return;
  const tick = unit(terms.tick_size);
  const lot = unit(terms.lot_size);
  [...list.children].forEach((row, at) => {
    const trade = state.tape[at];
    row.hidden = !trade && at > 0;
    const [price, qty, time] = row.children;
    if (!trade) {
      price.textContent = at === 0 ? "no trade yet" : "";
      price.className = "dim";
      qty.textContent = time.textContent = "";
      return;
    }
    const [id, ticks, lots, ms, side] = trade;
    const arrow = side === 1 ? "▲" : side === 2 ? "▼" : "◆";
    price.textContent = `${arrow} ${tick.text(ticks)}`;
    price.className = side === 1 ? "buy-text" : side === 2 ? "sell-text" : "";
    qty.textContent = lot.text(lots);
    time.textContent = clock(ms);
    row.title = `trade ${id}${side ? `, ${side === 1 ? "a buyer" : "a seller"} took` : ", in an auction"}`;
    row.classList.toggle(side === 1 ? "flash-buy" : "flash-sell", id > newest && newest > 0);
  });
  newest = state.tape[0]?.[0] ?? 0;
}
