import { isUtf8 } from "node:buffer";

/** What a scan finds of the key that it looks for. */
export type Scanned =
  | { readonly kind: "string"; readonly value: string }
  /** The value is no string; a word for what it is. */
  | { readonly kind: "other"; readonly was: string }
  | { readonly kind: "missing" }
  /** The body is JSON, but no object; a word for what it is. */
  | { readonly kind: "notAnObject"; readonly was: string }
  | { readonly kind: "notUtf8" }
  | { readonly kind: "invalid" };

const INVALID: Scanned = { kind: "invalid" };
const NOT_UTF8: Scanned = { kind: "notUtf8" };
const MISSING: Scanned = { kind: "missing" };

const QUOTE = 0x22;
const PLUS = 0x2b;
const COMMA = 0x2c;
const MINUS = 0x2d;
const DOT = 0x2e;
const ZERO = 0x30;
const NINE = 0x39;
const COLON = 0x3a;
const UPPER_I = 0x49;
const OPEN_ARRAY = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_ARRAY = 0x5d;
const LOWER_E = 0x65;
const LOWER_U = 0x75;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
/** Turns an upper-case ASCII letter into its lower case. */
const TO_LOWER = 0x20;

/** Bytes that may follow a backslash, but `u`. */
const ESCAPED = bytesOf('"\\/bfnrt');
const HEX = bytesOf("0123456789abcdefABCDEF");
/** `NaN` and `Infinity` are no JSON, but Python's `json` reads them, and with it vLLM, which refuses some values of them in words of its own. */
const WORDS = ["true", "false", "null", "NaN", "Infinity"];
const LITERALS: ReadonlyMap<number, Buffer> = new Map(WORDS.map((word) => [word.charCodeAt(0), Buffer.from(word)]));
const NONE_OPEN = new Uint8Array(0);

function bytesOf(characters: string): Uint8Array {
  const table = new Uint8Array(256);
  for (const character of characters) table[character.charCodeAt(0)] = 1;
  return table;
}

/**
 * Finds the value of a top-level key in a JSON text (RFC 8259) without building the rest. It accepts exactly what `JSON.parse` accepts of
 * UTF-8, and as numbers `NaN`, `Infinity` and `-Infinity`, as Python's `json.loads` does. Where a key stands twice it takes the last one, as `JSON.parse` and Python's `json.loads` do.
 */
export function scanJson(body: Buffer, key: string): Scanned {
  return isUtf8(body) ? new Scan(body).find(key) : NOT_UTF8;
}

/** One scan. A method that skips something moves on behind it, or returns `false` where the text is not JSON. */
class Scan {
  readonly #body: Buffer;
  #at = 0;
  /** Whether the string that was skipped last has escapes. */
  #hasEscapes = false;
  /** The body's bytes from {@link #wordsAt} on, four in each, the first one lowest (amd64 and arm64 are little-endian). */
  readonly #words: Int32Array;
  readonly #wordsAt: number;
  /** Containers around the place of the scan: 1 for an object, 0 for an array. It grows, for `JSON.parse` has no bound on depth. */
  #open = NONE_OPEN;

  constructor(body: Buffer) {
    const { buffer, byteOffset, length } = body;
    this.#body = body;
    this.#wordsAt = -byteOffset & 3;
    this.#words = new Int32Array(buffer, byteOffset + this.#wordsAt, Math.max(0, length - this.#wordsAt) >> 2);
  }

  find(key: string): Scanned {
    const body = this.#body;
    this.#skipSpace();
    if (body[this.#at] !== OPEN_OBJECT) return this.#notAnObject();
    this.#at++;
    this.#skipSpace();
    if (body[this.#at] === CLOSE_OBJECT) return this.#ends() ? MISSING : INVALID;

    let found = -1;
    let foundEnd = -1;
    for (;;) {
      const keyAt = this.#at;
      if (!this.#skipString()) return INVALID;
      const isKey = this.#isText(keyAt, key);
      if (!this.#skipColon()) return INVALID;
      const valueAt = this.#at;
      if (!this.#skipValue()) return INVALID;
      if (isKey) {
        found = valueAt;
        foundEnd = this.#at;
      }
      this.#skipSpace();
      if (body[this.#at] === CLOSE_OBJECT) break;
      if (body[this.#at] !== COMMA) return INVALID;
      this.#at++;
      this.#skipSpace();
    }
    if (!this.#ends()) return INVALID;
    return found === -1 ? MISSING : this.#valueOf(found, foundEnd);
  }

  #notAnObject(): Scanned {
    const start = this.#at;
    if (!this.#skipValue()) return INVALID;
    const end = this.#at;
    this.#skipSpace();
    return this.#at === this.#body.length ? { kind: "notAnObject", was: nameOf(this.#body.toString("latin1", start, end)) } : INVALID;
  }

  /** Whether nothing but white space follows the byte that is read. */
  #ends(): boolean {
    this.#at++;
    this.#skipSpace();
    return this.#at === this.#body.length;
  }

  #valueOf(start: number, end: number): Scanned {
    const text = this.#body.toString("utf8", start, end);
    if (this.#body[start] !== QUOTE) return { kind: "other", was: nameOf(text) };
    const value = text.includes("\\") ? (JSON.parse(text) as string) : text.slice(1, -1);
    return { kind: "string", value };
  }

  /** Whether the string that was skipped just now, from `start` on, is this text. */
  #isText(start: number, text: string): boolean {
    const length = this.#at - start - 2;
    if (this.#hasEscapes) return JSON.parse(this.#body.toString("utf8", start, this.#at)) === text;
    return length === text.length && this.#body.toString("latin1", start + 1, this.#at - 1) === text;
  }

  #skipSpace(): void {
    const body = this.#body;
    let at = this.#at;
    for (; at < body.length; at++) {
      const byte = body[at];
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) break;
    }
    this.#at = at;
  }

  #skipColon(): boolean {
    this.#skipSpace();
    if (this.#body[this.#at] !== COLON) return false;
    this.#at++;
    this.#skipSpace();
    return true;
  }

  /** Skips a value with all that is in it, from its first byte on. */
  #skipValue(): boolean {
    const body = this.#body;
    let depth = 0;
    for (;;) {
      // Here a value begins.
      const byte = body[this.#at];
      if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) {
        const isObject = byte === OPEN_OBJECT;
        this.#at++;
        this.#skipSpace();
        if (body[this.#at] !== (isObject ? CLOSE_OBJECT : CLOSE_ARRAY)) {
          this.#push(depth++, isObject);
          if (isObject && !(this.#skipString() && this.#skipColon())) return false;
          continue;
        }
        this.#at++;
      } else if (!this.#skipScalar(byte)) {
        return false;
      }
      // Here a value has ended.
      for (;;) {
        if (depth === 0) return true;
        this.#skipSpace();
        const isObject = this.#open[depth - 1] === 1;
        const next = body[this.#at];
        if (next === COMMA) {
          this.#at++;
          this.#skipSpace();
          if (isObject && !(this.#skipString() && this.#skipColon())) return false;
          break;
        }
        if (next !== (isObject ? CLOSE_OBJECT : CLOSE_ARRAY)) return false;
        this.#at++;
        depth--;
      }
    }
  }

  #push(depth: number, isObject: boolean): void {
    if (depth === this.#open.length) {
      const larger = new Uint8Array(Math.max(64, depth * 4));
      larger.set(this.#open);
      this.#open = larger;
    }
    this.#open[depth] = isObject ? 1 : 0;
  }

  #skipScalar(first: number | undefined): boolean {
    if (first === undefined) return false;
    if (first === QUOTE) return this.#skipString();
    if (first === MINUS || (first >= ZERO && first <= NINE)) return this.#skipNumber();
    return this.#skipLiteral(LITERALS.get(first));
  }

  #skipLiteral(literal: Buffer | undefined): boolean {
    if (literal === undefined || literal.compare(this.#body, this.#at, Math.min(this.#at + literal.length, this.#body.length)) !== 0)
      return false;
    this.#at += literal.length;
    return true;
  }

  #skipNumber(): boolean {
    const body = this.#body;
    if (body[this.#at] === MINUS) this.#at++;
    if (body[this.#at] === UPPER_I) return this.#skipLiteral(LITERALS.get(UPPER_I));
    // After a leading zero no digit may come: one that does is found as something that follows no value.
    if (body[this.#at] === ZERO) this.#at++;
    else if (!this.#skipDigits()) return false;
    if (body[this.#at] === DOT) {
      this.#at++;
      if (!this.#skipDigits()) return false;
    }
    if (((body[this.#at] ?? 0) | TO_LOWER) !== LOWER_E) return true;
    this.#at++;
    const sign = body[this.#at];
    if (sign === PLUS || sign === MINUS) this.#at++;
    return this.#skipDigits();
  }

  #skipDigits(): boolean {
    const body = this.#body;
    const start = this.#at;
    let at = start;
    for (; at < body.length; at++) {
      const byte = body[at] as number;
      if (byte < ZERO || byte > NINE) break;
    }
    this.#at = at;
    return at > start;
  }

  /**
   * Skips a string, four bytes at a time. A byte of a word is zero, or below 0x20, if subtracting 1, or 0x20, borrows into its highest bit
   * where that was not set (S. E. Anderson, Bit Twiddling Hacks). A borrow can mark a harmless byte above a true one, so each that is
   * marked is looked at.
   */
  #skipString(): boolean {
    const body = this.#body;
    if (body[this.#at] !== QUOTE) return false;
    const words = this.#words;
    const wordsAt = this.#wordsAt;
    let at = this.#at + 1;
    let hasEscapes = false;
    while (at < body.length) {
      const i = (at - wordsAt) >> 2;
      if (i >= 0 && i < words.length) {
        const word = words[i] as number;
        const quotes = word ^ 0x22222222;
        const backslashes = word ^ 0x5c5c5c5c;
        const stops = ((word - 0x20202020) & ~word) | ((quotes - 0x01010101) & ~quotes) | ((backslashes - 0x01010101) & ~backslashes);
        // Bytes of the word that are behind are not looked at again.
        const marks = stops & 0x80808080 & (-1 << (((at - wordsAt) & 3) * 8));
        if (marks === 0) {
          at = wordsAt + (i + 1) * 4;
          continue;
        }
        at = wordsAt + i * 4 + ((31 - Math.clz32(marks & -marks)) >> 3);
      }
      const byte = body[at] as number;
      if (byte === QUOTE) {
        this.#at = at + 1;
        this.#hasEscapes = hasEscapes;
        return true;
      }
      if (byte === BACKSLASH) {
        hasEscapes = true;
        at = this.#afterEscape(at + 1);
        if (at === -1) return false;
      } else if (byte < 0x20) {
        return false;
      } else {
        at++;
      }
    }
    return false;
  }

  /** Where an escape ends, of which the byte behind the backslash is given; -1 where it is none. */
  #afterEscape(at: number): number {
    const body = this.#body;
    const byte = body[at] ?? 0;
    if (byte !== LOWER_U) return ESCAPED[byte] === 1 ? at + 1 : -1;
    for (let i = at + 1; i <= at + 4; i++) if (HEX[body[i] ?? 0] !== 1) return -1;
    return at + 5;
  }
}

/** A word for a value that is no string, from its text. */
function nameOf(text: string): string {
  switch (text[0]) {
    case "{":
      return "an object";
    case "[":
      return "an array";
    case '"':
      return text === '""' ? "an empty string" : "a string";
    case "t":
    case "f":
      return "a boolean";
    case "n":
      return "null";
    default:
      return "a number";
  }
}
