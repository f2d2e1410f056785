/** Calls that stay open for the head of their request's answer. */
export class Watches {
  readonly #ends = new Set<() => void>();
  #open = true;

  get size(): number {
    return this.#ends.size;
  }

  /** Whether more may come. */
  get isOpen(): boolean {
    return this.#open;
  }

  /** @param end - ends the call without that head: Envoy goes on with the request */
  add(end: () => void): void {
    this.#ends.add(end);
  }

  delete(end: () => void): void {
    this.#ends.delete(end);
  }

  /** Ends all of them, and lets no more come. */
  close(): void {
    this.#open = false;
    for (const end of [...this.#ends]) end();
  }
}
