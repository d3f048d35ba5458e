// Ticks and lots as text and back, exactly: whole numbers all the way, no floating point.

const THIN = "\u202f";

/** A tick_size or lot_size. `text(7)` is what seven of them are, `count("0.07")` how many that is. */
export class Unit {
  constructor(size) {
    const [whole, fraction = ""] = size.split(".");
    this.places = fraction.length;
    this.factor = BigInt(whole + fraction);
  }

  text(count) {
    const scaled = BigInt(count) * this.factor;
    const digits = (scaled < 0n ? -scaled : scaled).toString().padStart(this.places + 1, "0");
    const sign = scaled < 0n ? "-" : "";
    if (!this.places) return sign + grouped(digits);
    const cut = digits.length - this.places;
    return `${sign}${grouped(digits.slice(0, cut))}.${digits.slice(cut)}`;
  }

  /** The same without spaces between thousands: what an order says. */
  plain(count) {
    return this.text(count).replaceAll(THIN, "");
  }

  /** How many units an amount is; null if it is none, or not a whole number of them. */
  count(text) {
    const found = /^(-?)(\d+)(?:\.(\d*))?$/.exec(text.trim().replaceAll(/[\s_]/g, ""));
    if (!found) return null;
    const fraction = (found[3] ?? "").replace(/0+$/, "");
    if (fraction.length > this.places) return null;
    const scaled = BigInt(found[2] + fraction.padEnd(this.places, "0"));
    if (scaled % this.factor !== 0n) return null;
    const count = Number(scaled / this.factor);
    return found[1] ? -count : count;
  }
}

const units = new Map();

/** The unit of this size, made once. */
export function unit(size) {
  if (!units.has(size)) units.set(size, new Unit(size));
  return units.get(size);
}

/** Narrow spaces between thousands, at which no line breaks. */
export function grouped(digits) {
  return digits.replace(/\B(?=(\d{3})+(?!\d))/g, THIN);
}

/** An amount of money, rounded: for reading, never for an order. */
export function money(amount) {
  return amount.toLocaleString("en", { maximumFractionDigits: 2 }).replaceAll(",", THIN);
}

export function percent(part, whole) {
  if (!whole) return "";
  const value = (100 * part) / Math.abs(whole);
  return `${value > 0 ? "+" : value < 0 ? "−" : ""}${Math.abs(value).toFixed(2)} %`;
}

export function clock(ms) {
  const at = new Date(ms);
  return [at.getHours(), at.getMinutes(), at.getSeconds()].map((each) => String(each).padStart(2, "0")).join(":");
}

/** A duration for people. */
export function ago(ms) {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  return `${Math.floor(ms / 60_000)} min`;
}
