// The order form: what is typed, what it would cost, and what became of it, said honestly.

import { call } from "./api.js";
import { instrument, on, state, tell } from "./state.js";
import { money, unit } from "./numbers.js";

const RESOLVE_EVERY_MS = 1000;
const RESOLVE_TRIES = 12;
const get = (id) => document.getElementById(id);
const form = get("form");
const outcome = get("outcome");
let isSending = false;
let isPriceTyped = false;

export function start() {
  form.addEventListener("submit", (event) => { event.preventDefault(); place(); });
  form.addEventListener("input", (event) => {
    if (event.target.name === "price") isPriceTyped = form.price.value !== "";
    event.target.removeAttribute("aria-invalid");
    draw();
  });
  for (const name of ["price", "quantity"]) form[name].addEventListener("keydown", step);
  on("book symbol instruments account link cluster", draw);
  on("symbol", () => { form.price.value = form.quantity.value = ""; isPriceTyped = false; });
}

/** Puts a level of the ladder into the form: its price, and the side that would trade with it. */
export function fill({ price, side }) {
  const terms = instrument();
  if (!terms) return;
  form.side.value = side === "asks" ? "BUY" : "SELL";
  if (form.type.value === "MARKET") form.type.value = "LIMIT";
  form.price.value = unit(terms.tick_size).plain(price);
  isPriceTyped = true;
  if (!form.quantity.value) form.quantity.focus();
  draw();
}

export function choose(side) {
  form.side.value = side;
  if (form.type.value === "MARKET") form.quantity.focus();
  else { form.price.focus(); form.price.select(); }
  draw();
}

function step(event) {
  const by = { ArrowUp: 1, ArrowDown: -1 }[event.key];
  const terms = instrument();
  if (!by || !terms) return;
  const its = unit(event.target.name === "price" ? terms.tick_size : terms.lot_size);
  const isEmpty = event.target.value.trim() === "";
  const count = its.count(isEmpty ? event.target.placeholder : event.target.value);
  if (count === null) return;
  event.preventDefault();
  // An empty field begins with what it suggests.
  event.target.value = its.plain(isEmpty ? count : count + by * (event.shiftKey ? 10 : 1));
  event.target.dispatchEvent(new Event("input", { bubbles: true }));
}

function draw() {
  const terms = instrument();
  const isMarket = form.type.value === "MARKET";
  form.dataset.side = form.side.value;
  form.price.disabled = isMarket;
  form.timeInForce.disabled = form.type.value !== "LIMIT";
  if (!terms) return;
  const { book } = state;
  get("price-unit").textContent = `${terms.quote}, in steps of ${terms.tick_size}`;
  get("qty-unit").textContent = `${terms.base}, in steps of ${terms.lot_size}`;
  if (!isPriceTyped && document.activeElement !== form.price && book) {
    const best = form.side.value === "BUY" ? book.asks[0] ?? book.bids[0] : book.bids[0] ?? book.asks[0];
    form.price.placeholder = best ? unit(terms.tick_size).plain(best[0]) : "";
  }
  const verb = form.side.value === "BUY" ? "Buy" : "Sell";
  const cannot = reason();
  get("place").textContent = isSending ? "Sending…" : cannot ?? `${verb} ${terms.base}`;
  get("place").disabled = isSending || cannot !== null;
  get("who").textContent = state.account.key ? `as ${state.account.key.slice(0, 20)}` : "";
  get("estimate").textContent = estimate(terms, book, isMarket);
}

/** Why no order can be placed now, in the button's few words. */
function reason() {
  if (!state.account.key) return "Choose an account below";
  if (state.link !== "open") return "Reconnecting…";
  if (["halted", "closed", "cancel_only"].includes(state.book?.phase)) return `${state.symbol} is ${state.book.phase.replace("_", " ")}`;
  return null;
}

function estimate(terms, book, isMarket) {
  const lots = unit(terms.lot_size).count(form.quantity.value);
  if (!lots || lots <= 0 || !book) return "";
  const isBuy = form.side.value === "BUY";
  const limit = isMarket ? null : unit(terms.tick_size).count(form.price.value);
  if (!isMarket && limit === null) return "";
  if (book.phase !== "continuous") return isMarket ? "" : "Waits in the book: nothing trades now.";
  let left = lots;
  let notional = 0;
  for (const [price, size] of isBuy ? book.asks : book.bids) {
    if (limit !== null && (isBuy ? price > limit : price < limit)) break;
    const taken = Math.min(left, size);
    notional += taken * price;
    left -= taken;
    if (!left) break;
  }
  const worth = (ticks) => money(Number(unit(terms.tick_size).plain(1)) * Number(unit(terms.lot_size).plain(1)) * ticks);
  const filled = lots - left;
  const lot = unit(terms.lot_size);
  if (!filled) return isMarket ? "Nothing to trade with." : `Rests in the book; worth ${worth(lots * limit)} ${terms.quote}.`;
  const at = unit(terms.tick_size).text(Math.round(notional / filled));
  if (!left) return `Trades at once, ${at} on average: ${worth(notional)} ${terms.quote}.`;
  return `${lot.text(filled)} trade at once at ${at} on average, ${lot.text(left)} ${isMarket ? "find nobody" : "rest"}.`;
}

/** What goes to the node; null if something that was typed cannot be. */
function typed(terms) {
  const parameters = { symbol: terms.base + terms.quote, side: form.side.value, type: form.type.value };
  const lots = unit(terms.lot_size).count(form.quantity.value);
  if (lots === null || lots <= 0) return invalid(form.quantity, `Size must be a multiple of ${terms.lot_size}.`);
  parameters.quantity = unit(terms.lot_size).plain(lots);
  if (form.type.value !== "MARKET") {
    if (!form.price.value.trim()) return invalid(form.price, "Type a price, or click one in the book.");
    const ticks = unit(terms.tick_size).count(form.price.value);
    if (ticks === null) return invalid(form.price, `Price must be a multiple of ${terms.tick_size}.`);
    parameters.price = unit(terms.tick_size).plain(ticks);
  }
  if (form.type.value === "LIMIT") parameters.timeInForce = form.timeInForce.value;
  return { ...parameters, newClientOrderId: freshId(), newOrderRespType: "FULL" };
}

function invalid(input, words) {
  input.setAttribute("aria-invalid", "true");
  input.focus();
  say("refused", words, "Nothing was sent.");
  return null;
}

function freshId() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return `page-${Array.from(bytes, (byte) => byte.toString(36).padStart(2, "0")).join("")}`;
}

async function place() {
  const terms = instrument();
  if (isSending || !terms || reason() !== null) return;
  const parameters = typed(terms);
  if (!parameters) return;
  isSending = true;
  draw();
  const answer = await call("POST", "/api/v3/order", parameters);
  isSending = false;
  draw();
  tell("own");
  if (answer.kind === "ok") showOrder(answer.body, answer, terms);
  else if (answer.kind === "unknown") await resolve(parameters, terms, answer);
  else if (answer.kind === "not_accepted") say("refused", `Not accepted: ${answer.message}`, "It had no effect and will have none. Send it again when you like.");
  else say("refused", `Refused: ${answer.message || "the node gave no reason"}`, `${place_(answer)}It had no effect.`);
}

function showOrder(order, answer, terms) {
  const done = Number(order.executedQty);
  const average = done ? unit(terms.tick_size).text(Math.round(Number(order.cummulativeQuoteQty) / done / Number(terms.tick_size))) : "";
  const words = {
    NEW: "rests in the book",
    PARTIALLY_FILLED: `${trimmed(order.executedQty)} filled at ${average} on average, the rest is in the book`,
    FILLED: `filled, ${trimmed(order.executedQty)} at ${average} on average`,
    CANCELED: "cancelled",
    EXPIRED: done ? `${trimmed(order.executedQty)} filled at ${average}, the rest found nobody` : "found nobody to trade with, and is gone",
    EXPIRED_IN_MATCH: "stopped before it met an order of its own account",
    REJECTED: "rejected",
  }[order.status] ?? order.status;
  const kind = order.status === "REJECTED" ? "refused" : "done";
  say(kind, `Order ${order.orderId} ${words}.`, place_(answer));
}

/** "entry 12874, term 4, via node 1, 3.2 ms" */
function place_(answer) {
  const parts = [];
  if (answer.entry) parts.push(`entry ${answer.entry}`);
  if (answer.term) parts.push(`term ${answer.term}`);
  if (answer.node) parts.push(`via node ${answer.node}`);
  parts.push(`${answer.ms.toFixed(1)} ms`);
  return `${parts.join(", ")}. `;
}

/** Nobody knows yet: ask for the order by its own id, wherever the page is now, until one does. */
async function resolve(parameters, terms, first) {
  const question = { symbol: parameters.symbol, origClientOrderId: parameters.newClientOrderId };
  for (let tried = 1; tried <= RESOLVE_TRIES; tried += 1) {
    say("unknown", "Outcome unknown: the order may or may not take effect.", `${first.message || "no commit in time"} (${first.ms.toFixed(0)} ms). Asking for ${parameters.newClientOrderId}, attempt ${tried}.`);
    await new Promise((done) => { setTimeout(done, RESOLVE_EVERY_MS); });
    const answer = await call("GET", "/api/v3/order", question);
    tell("own");
    if (answer.kind === "ok") {
      showOrder(answer.body, answer, terms);
      return;
    }
  }
  say("unknown", "Outcome still unknown: the order is in no book that could be asked.", `Look for ${parameters.newClientOrderId} among your orders before you send another.`);
}

/** What became of something, where the eye is after an order. */
export function say(kind, words, small) {
  outcome.dataset.kind = kind;
  outcome.replaceChildren(Object.assign(document.createElement("b"), { textContent: words }), Object.assign(document.createElement("small"), { textContent: small }));
}

export const trimmed = (text) => (text.includes(".") ? text.replace(/0+$/, "").replace(/\.$/, "") : text);
