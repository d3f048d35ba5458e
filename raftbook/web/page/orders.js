// The account: its key, its open orders with cancel, its fills and balances.

import { call } from "./api.js";
import { instrument, on, state, tell } from "./state.js";
import { clock } from "./numbers.js";
import { say, trimmed } from "./form.js";

const EVERY_MS = 2500;
const SOON_MS = 250;
const TRADED_MS = 1000; // a busy market trades all the time
const FILLS = 100;
const get = (id) => document.getElementById(id);
const going = new Set(); // orders whose cancel is under way
let timer = null;
let isAsking = false;
let askedAt = 0;
let dueAt = 0;
let problem = "";

export function start() {
  // A link may name an account without a secret: what stands behind # is not sent to anybody.
  const named = new URLSearchParams(location.hash.slice(1)).get("account");
  state.account.key = named ?? sessionStorage.getItem("key") ?? "";
  state.account.secret = named ? "" : sessionStorage.getItem("secret") ?? "";
  get("key").value = state.account.key;
  get("keys").addEventListener("submit", (event) => {
    event.preventDefault();
    state.account = { key: get("key").value.trim(), secret: get("secret").value };
    sessionStorage.setItem("key", state.account.key);
    sessionStorage.setItem("secret", state.account.secret);
    state.orders = [];
    state.fills = [];
    get("account").open = false;
    tell("account");
    tell("orders");
    ask(0);
  });
  if (!state.account.key) get("account").open = true;
  get("cancel-all").addEventListener("click", cancelAll);
  on("own symbol link", () => ask(SOON_MS));
  on("tape", () => state.orders.length && ask(Math.max(SOON_MS, TRADED_MS - (performance.now() - askedAt))));
  on("orders account", drawOrders);
  on("fills account symbol", drawFills);
  tell("orders");
  tell("fills");
  ask(0);
}

/** Ask soon; whoever wants it later than it is due already changes nothing. */
function ask(afterMs) {
  const at = performance.now() + afterMs;
  if (timer !== null && dueAt <= at) return;
  clearTimeout(timer);
  dueAt = at;
  timer = setTimeout(() => { timer = null; refresh(); }, afterMs);
}

async function refresh() {
  const terms = instrument();
  if (!state.account.key || state.link !== "open" || !terms || document.hidden || isAsking) return ask(EVERY_MS);
  isAsking = true;
  askedAt = performance.now();
  const symbol = terms.base + terms.quote;
  const [orders, fills, account] = await Promise.all([
    call("GET", "/api/v3/openOrders", {}),
    call("GET", "/api/v3/myTrades", { symbol, limit: String(FILLS) }),
    call("GET", "/api/v3/account", {}),
  ]);
  isAsking = false;
  if (orders.kind === "ok") {
    const markets = new Map([...state.instruments.values()].map((each) => [each.base + each.quote, each.symbol]));
    state.orders = orders.body.map((order) => ({ ...order, market: markets.get(order.symbol) ?? order.symbol }));
    for (const id of going) if (!state.orders.some((order) => order.orderId === id)) going.delete(id);
    tell("orders");
  }
  problem = orders.kind === "refused" ? orders.message : "";
  if (problem) drawOrders();
  if (fills.kind === "ok") { state.fills = fills.body.reverse(); tell("fills"); }
  if (account.kind === "ok") drawBalances(account.body.balances);
  ask(EVERY_MS);
}

function drawOrders() {
  get("account-name").textContent = state.account.key || "none";
  const rows = state.orders.toSorted((a, b) => b.orderId - a.orderId).map((order) => {
    const row = rowOf([
      clock(order.time), sideOf(order.side), `${order.type.toLowerCase().replaceAll("_", " ")}${order.market === state.symbol ? "" : ` · ${order.market}`}`,
      trimmed(order.price), trimmed(order.origQty), trimmed(order.executedQty), String(order.orderId),
    ], [3, 4, 5, 6]);
    const cell = document.createElement("td");
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: "Cancel" });
    button.setAttribute("aria-label", `Cancel order ${order.orderId}`);
    button.addEventListener("click", () => cancel(order));
    button.disabled = going.has(order.orderId);
    cell.append(button);
    row.append(cell);
    row.classList.toggle("is-going", going.has(order.orderId));
    return row;
  });
  get("orders").replaceChildren(...rows);
  get("orders-count").textContent = rows.length || "";
  get("cancel-all").hidden = rows.length < 2;
  get("orders-void").textContent = !state.account.key ? "Choose an account to see its orders." : problem || (rows.length ? "" : "No open orders.");
}

function drawFills() {
  const rows = state.fills.map((fill) => rowOf([
    clock(fill.time), sideOf(fill.isBuyer ? "BUY" : "SELL"), trimmed(fill.price), trimmed(fill.qty),
    `${trimmed(fill.commission)} ${fill.commissionAsset}`, fill.isMaker ? "maker" : "taker", String(fill.orderId), String(fill.id),
  ], [2, 3, 4, 6, 7]));
  get("fills").replaceChildren(...rows);
  get("fills-void").textContent = rows.length ? "" : state.account.key ? `No fills in ${state.symbol} yet.` : "Choose an account to see its fills.";
}

function drawBalances(balances) {
  const rows = balances.filter((each) => Number(each.free) || Number(each.locked)).map((each) => {
    const row = document.createElement("div");
    const held = Number(each.locked) ? ` (${trimmed(each.locked)} held)` : "";
    row.append(Object.assign(document.createElement("dt"), { textContent: each.asset }), Object.assign(document.createElement("dd"), { textContent: trimmed(each.free) + held }));
    return row;
  });
  get("balances").replaceChildren(...rows);
}

function rowOf(cells, numbers) {
  const row = document.createElement("tr");
  cells.forEach((content, at) => {
    const cell = document.createElement("td");
    cell.append(content);
    if (numbers.includes(at)) cell.className = "n";
    row.append(cell);
  });
  return row;
}

function sideOf(side) {
  return Object.assign(document.createElement("span"), { className: side === "BUY" ? "buy-text" : "sell-text", textContent: side === "BUY" ? "buy" : "sell" });
}

async function cancel(order) {
  going.add(order.orderId);
  tell("orders");
  const answer = await call("DELETE", "/api/v3/order", { symbol: order.symbol, orderId: String(order.orderId) });
  if (answer.kind !== "ok") {
    going.delete(order.orderId);
    const words = answer.kind === "unknown" ? "Outcome unknown" : answer.kind === "refused" ? "Refused" : "Not accepted";
    const after = answer.kind === "unknown" ? "The list of open orders shows whether it took effect; cancelling again does no harm." : "The order is as it was, or had ended before.";
    say(answer.kind === "unknown" ? "unknown" : "refused", `Cancel of order ${order.orderId}: ${words}. ${answer.message}`, after);
  }
  ask(0);
}

async function cancelAll() {
  const symbols = new Set(state.orders.map((order) => order.symbol));
  for (const order of state.orders) going.add(order.orderId);
  tell("orders");
  await Promise.all([...symbols].map((symbol) => call("DELETE", "/api/v3/openOrders", { symbol })));
  going.clear();
  ask(0);
}
