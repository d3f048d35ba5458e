// What the page knows, and who is told when some of it changes. Owns no elements and no sockets.

export const state = {
  link: "lost", // open | lost
  hello: null, // {node_id, cluster, version}
  instruments: new Map(), // by symbol
  symbol: "",
  book: null, // the last "book" frame of the symbol
  tape: [], // [trade_id, price, qty, ms, side], newest first
  cluster: null, // the last "cluster" frame
  heardAt: 0, // performance.now() of the last frame
  account: { key: "", secret: "" },
  orders: [], // own open orders as REST says them
  fills: [],
};

const listeners = new Map();
const changed = new Set();
let isScheduled = false;

/** Calls `listener` in the next frame after any of these topics changed. */
export function on(topics, listener) {
  for (const topic of topics.split(" ")) {
    if (!listeners.has(topic)) listeners.set(topic, new Set());
    listeners.get(topic).add(listener);
  }
}

/** Says that something changed; many changes make one call. */
export function tell(topic) {
  changed.add(topic);
  if (isScheduled) return;
  isScheduled = true;
  // A hidden tab draws nothing, and must not let changes pile up until it is shown.
  if (document.hidden) setTimeout(flush, 200);
  else requestAnimationFrame(flush);
}

function flush() {
  isScheduled = false;
  const due = new Set();
  for (const topic of changed) for (const each of listeners.get(topic) ?? []) due.add(each);
  changed.clear();
  for (const each of due) each();
}

export const instrument = () => state.instruments.get(state.symbol) ?? null;
