import { compressionError } from "./errors.ts";

/**
 * Bits of each symbol's code (RFC 7541, appendix B), 0 to 255 and then the end of a string. Codes of one length follow each other in the
 * order of their symbols, and the shorter ones come first, so the lengths say all.
 */
// biome-ignore format: sixteen in a row
const BITS: readonly number[] = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
  28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
  6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
  5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
  13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
  7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
  15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
  6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
  20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
  24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
  22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
  21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
  26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
  19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
  20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
  26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
  30,
];

const END_OF_STRING = 256;
/** A string may be filled up with so many bits of the end's code, which are ones. */
const MAX_PADDING_BITS = 7;

// An entry of the table: the next state, then the symbol that was completed, if any, then whether the bits are no code.
const SYMBOL_SHIFT = 8;
const EMITS = 1 << 16;
const FAILS = 1 << 17;

/** One step for every state (a place in the tree of codes) and every four bits. No code is shorter than five. */
const STEPS = new Int32Array(256 * 16);
/** Whether a string may end in a state. */
const MAY_END = new Uint8Array(256);
buildTables();

function buildTables(): void {
  // The tree: [state * 2 + bit] is the next state, or ~symbol.
  const tree: number[] = [0, 0];
  const symbols = BITS.map((bits, symbol) => ({ bits, symbol })).sort((a, b) => a.bits - b.bits || a.symbol - b.symbol);
  let code = 0;
  let last = 0;
  for (const { bits, symbol } of symbols) {
    code = last === 0 ? 0 : (code + 1) << (bits - last);
    last = bits;
    let state = 0;
    for (let i = bits - 1; i > 0; i--) {
      const at = state * 2 + ((code >>> i) & 1);
      if (tree[at] === 0) {
        tree[at] = tree.length / 2;
        tree.push(0, 0);
      }
      state = tree[at] ?? 0;
    }
    tree[state * 2 + (code & 1)] = ~symbol;
  }
  for (let state = 0; state < tree.length / 2; state++) {
    for (let nibble = 0; nibble < 16; nibble++) STEPS[state * 16 + nibble] = stepOf(tree, state, nibble);
  }
  let state = 0;
  for (let bits = 0; bits <= MAX_PADDING_BITS; bits++) {
    MAY_END[state] = 1;
    state = tree[state * 2 + 1] ?? 0;
  }
}

function stepOf(tree: readonly number[], from: number, nibble: number): number {
  let state = from;
  let emitted = 0;
  for (let i = 3; i >= 0; i--) {
    const next = tree[state * 2 + ((nibble >>> i) & 1)] ?? 0;
    if (next === ~END_OF_STRING) return FAILS;
    if (next < 0) emitted = EMITS | (~next << SYMBOL_SHIFT);
    state = Math.max(next, 0);
  }
  return state | emitted;
}

/** Grows as strings need it; a string is never longer than 8/5 of its code. */
let scratch = Buffer.allocUnsafe(4_096);

/**
 * Decodes a Huffman string of HPACK; each byte becomes a character.
 *
 * @throws ConnectionError for bits that are no code, and for a padding that is none
 */
export function decodeHuffman(bytes: Buffer, start: number, end: number): string {
  if ((end - start) * 2 > scratch.length) scratch = Buffer.allocUnsafe((end - start) * 2);
  const out = scratch;
  let length = 0;
  let state = 0;
  for (let at = start; at < end; at++) {
    const byte = bytes[at] ?? 0;
    const high = STEPS[state * 16 + (byte >>> 4)] ?? FAILS;
    if ((high & EMITS) !== 0) out[length++] = high >>> SYMBOL_SHIFT;
    const low = STEPS[(high & 0xff) * 16 + (byte & 0xf)] ?? FAILS;
    if ((low & EMITS) !== 0) out[length++] = low >>> SYMBOL_SHIFT;
    if (((high | low) & FAILS) !== 0) throw compressionError("a Huffman string holds its end");
    state = low & 0xff;
  }
  if (MAY_END[state] !== 1) throw compressionError("a Huffman string has a wrong padding");
  return out.toString("latin1", 0, length);
}
