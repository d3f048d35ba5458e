// The live feed: one WebSocket, and another node when this one is gone.
// Owns which node the page is on. What arrives goes to `onFrame`; what is shown is others'.

const OPEN_MS = 2000; // a node that is up opens in milliseconds
const SILENT_MS = 3000; // frames come at least twice a second
const WAIT_MS = [120, 400, 800, 1500, 2000];

export class Feed {
  /** @param others gives the origins of the other nodes that may be tried, best first. */
  constructor({ symbol, others, onFrame, onLink }) {
    this.origin = location.origin;
    this.symbol = symbol;
    this.others = others;
    this.onFrame = onFrame;
    this.onLink = onLink;
    this.tries = 0;
    this.socket = null;
    this.heardAt = 0;
    this.open();
    setInterval(() => this.watch(), 500);
    addEventListener("online", () => this.lose(this.socket));
  }

  /** Go on at another node. */
  moveTo(origin) {
    this.tries = 0;
    this.origin = origin;
    this.drop();
    this.open();
  }

  /** Look at another instrument. */
  choose(symbol) {
    this.symbol = symbol;
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify({ symbol }));
  }

  open() {
    clearTimeout(this.timer);
    const address = this.origin.replace(/^http/, "ws");
    let socket;
    try {
      socket = new WebSocket(`${address}/v1/live?symbol=${encodeURIComponent(this.symbol)}`);
    } catch {
      return this.lose(null); // a security policy that does not know this node
    }
    this.socket = socket;
    this.heardAt = performance.now();
    socket.onmessage = (message) => {
      if (socket !== this.socket) return;
      this.heardAt = performance.now();
      const frame = JSON.parse(message.data);
      if (frame.type === "hello") {
        this.tries = 0;
        this.onLink("open");
      }
      this.onFrame(frame);
    };
    socket.onclose = () => this.lose(socket);
  }

  /** The connection is gone: the same node once more, then the others, one after the other. */
  lose(socket) {
    if (socket !== this.socket) return;
    this.drop();
    this.onLink("lost");
    const wait = WAIT_MS[Math.min(this.tries, WAIT_MS.length - 1)];
    if (this.tries > 0) {
      const origins = [this.origin, ...this.others(this.origin)];
      this.origin = origins[1] ?? this.origin;
    }
    this.tries += 1;
    this.timer = setTimeout(() => this.open(), wait);
  }

  drop() {
    const socket = this.socket;
    this.socket = null;
    if (socket) {
      socket.onmessage = socket.onclose = null;
      socket.close();
    }
  }

  watch() {
    if (!this.socket || document.hidden) return;
    const patience = this.socket.readyState === WebSocket.OPEN ? SILENT_MS : OPEN_MS;
    if (performance.now() - this.heardAt > patience) this.lose(this.socket);
  }
}
