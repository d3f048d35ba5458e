// The depth chart: what is bid and offered up to each price, and what it costs to sweep that far.

import { instrument, on, state } from "./state.js";
import { money, unit } from "./numbers.js";

const PAD = { left: 8, right: 8, top: 10, bottom: 20 };
const get = (id) => document.getElementById(id);
const canvas = get("chart");
let pointer = null; // x in CSS pixels
let geometry = null;

export function start() {
  on("book symbol instruments", draw);
  new ResizeObserver(draw).observe(canvas);
  addEventListener("theme", draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  canvas.addEventListener("pointermove", (event) => { pointer = event.offsetX; draw(); });
  canvas.addEventListener("pointerleave", () => { pointer = null; draw(); });
  canvas.addEventListener("keydown", onKey);
  canvas.addEventListener("blur", () => { pointer = null; draw(); });
}

function onKey(event) {
  const step = { ArrowLeft: -8, ArrowRight: 8 }[event.key];
  if (!step) return;
  event.preventDefault();
  pointer = Math.min(canvas.clientWidth - 1, Math.max(0, (pointer ?? canvas.clientWidth / 2) + step));
  draw();
}

/** [price, cumulative qty, cumulative notional] outward from the middle. */
function summed(levels) {
  let qty = 0;
  let notional = 0;
  return levels.map(([price, size]) => {
    qty += size;
    notional += size * price;
    return [price, qty, notional];
  });
}

function draw() {
  const ratio = devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (!width || !height) return;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  const terms = instrument();
  const book = state.book;
  const isEmpty = !book || (!book.bids.length && !book.asks.length);
  get("chart-empty").hidden = !isEmpty;
  get("chart-empty").textContent = book ? "The book is empty. The first order makes the market." : "";
  get("depth-reading").textContent = "";
  if (isEmpty || !terms) return;
  geometry = measure(book, width, height);
  const style = getComputedStyle(canvas);
  const colour = (name) => style.getPropertyValue(name).trim();
  drawScale(pen, colour, terms, width, height);
  drawSide(pen, geometry.bids, geometry.low, colour("--buy"), colour("--buy-wash"));
  drawSide(pen, geometry.asks, geometry.high, colour("--sell"), colour("--sell-wash"));
  if (pointer !== null) drawPointer(pen, colour, terms, height);
  else describe(terms);
}

function measure(book, width, height) {
  const bids = summed(book.bids);
  const asks = summed(book.asks);
  const best = [bids[0]?.[0], asks[0]?.[0]].filter((price) => price !== undefined);
  const middle = best.reduce((sum, price) => sum + price, 0) / best.length;
  // As far as both sides are shown, so that the middle stays in the middle.
  const reach = Math.max(1, ...[bids, asks].map((side) => (side.length ? Math.abs(side[Math.min(side.length - 1, 39)][0] - middle) : 0)));
  const low = middle - reach * 1.04;
  const high = middle + reach * 1.04;
  const inside = (side) => side.filter(([price]) => price >= low && price <= high);
  const most = Math.max(1, ...[inside(bids), inside(asks)].map((side) => side.at(-1)?.[1] ?? 0));
  const x = (price) => PAD.left + ((price - low) / (high - low)) * (width - PAD.left - PAD.right);
  const y = (qty) => height - PAD.bottom - (qty / most) * (height - PAD.top - PAD.bottom);
  return { bids: inside(bids), asks: inside(asks), low, high, middle, most, x, y };
}

function drawSide(pen, side, edge, line, wash) {
  if (!side.length) return;
  const { x, y } = geometry;
  pen.beginPath();
  pen.moveTo(x(side[0][0]), y(0));
  let before = 0;
  for (const [price, qty] of side) {
    pen.lineTo(x(price), y(before));
    pen.lineTo(x(price), y(qty));
    before = qty;
  }
  pen.lineTo(x(edge), y(before));
  pen.strokeStyle = line;
  pen.lineWidth = 1.4;
  pen.stroke();
  pen.lineTo(x(edge), y(0));
  pen.closePath();
  pen.fillStyle = wash;
  pen.fill();
}

function drawScale(pen, colour, terms, width, height) {
  const { x, y, low, high, most, middle } = geometry;
  const tick = unit(terms.tick_size);
  const lot = unit(terms.lot_size);
  pen.font = `11px ${getComputedStyle(document.body).fontFamily}`;
  pen.fillStyle = colour("--faint");
  pen.strokeStyle = colour("--line");
  pen.lineWidth = 1;
  for (const share of [0.5, 1]) {
    pen.beginPath();
    pen.moveTo(PAD.left, Math.round(y(most * share)) + 0.5);
    pen.lineTo(width - PAD.right, Math.round(y(most * share)) + 0.5);
    pen.stroke();
    pen.textAlign = "center"; // where the two sides part there is room
    pen.fillText(`${lot.text(Math.round(most * share))} ${terms.base}`, x(middle), y(most * share) + 13);
  }
  pen.textAlign = "center";
  for (const at of [0.1, 0.5, 0.9]) {
    const price = at === 0.5 ? middle : low + (high - low) * at;
    pen.fillText(tick.text(Math.round(price)), x(price), height - 6);
  }
}

function drawPointer(pen, colour, terms, height) {
  const { x, y, low, high, middle } = geometry;
  const price = low + ((pointer - PAD.left) / (canvas.clientWidth - PAD.left - PAD.right)) * (high - low);
  const isBid = price < middle;
  const side = isBid ? geometry.bids : geometry.asks;
  const reached = side.filter(([at]) => (isBid ? at >= price : at <= price)).at(-1);
  pen.strokeStyle = colour("--dim");
  pen.setLineDash([3, 3]);
  pen.beginPath();
  pen.moveTo(Math.round(pointer) + 0.5, PAD.top);
  pen.lineTo(Math.round(pointer) + 0.5, height - PAD.bottom);
  pen.stroke();
  pen.setLineDash([]);
  if (!reached) return;
  pen.fillStyle = colour(isBid ? "--buy" : "--sell");
  pen.beginPath();
  pen.arc(x(isBid ? Math.max(price, low) : price), y(reached[1]), 3.5, 0, 7);
  pen.fill();
  get("depth-reading").textContent = sweep(reached, isBid, terms);
}

/** "sell 12.5 BTC down to 101.20 for 1 265.11 USD, 101.21 on average" */
function sweep([price, qty, notional], isBid, terms) {
  const tick = unit(terms.tick_size);
  const lot = unit(terms.lot_size);
  const cost = money(Number(tick.plain(1)) * Number(lot.plain(1)) * notional);
  const average = tick.text(Math.round(notional / qty));
  return `${isBid ? "sell" : "buy"} ${lot.text(qty)} ${terms.base} ${isBid ? "down" : "up"} to ${tick.text(price)} for ${cost} ${terms.quote}, ${average} on average`;
}

function describe(terms) {
  const { bids, asks } = geometry;
  const parts = [];
  if (bids.length) parts.push(sweep(bids.at(-1), true, terms));
  if (asks.length) parts.push(sweep(asks.at(-1), false, terms));
  canvas.setAttribute("aria-label", `Cumulative depth: ${parts.join("; ")}`);
}
