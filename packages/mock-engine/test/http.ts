import { expect } from "vitest";

/** An answer, read to its end. */
export interface Answer {
  readonly status: number;
  readonly contentType: string | null;
  readonly headers: Headers;
  readonly text: string;
}

export interface CallOptions {
  readonly json?: unknown;
  /** A body as it is, with `type` as its content type. */
  readonly raw?: { readonly text: string; readonly type: string };
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Longer than any single answer takes on two busy cores. */
const CALL_TIMEOUT_MS = 60_000;

/** Talks to one engine, with its key unless told otherwise. */
export class Client {
  readonly url: string;
  readonly #key: string | undefined;

  constructor(url: string, key?: string) {
    this.url = url;
    this.#key = key;
  }

  /** The same engine without a key, or with another one. */
  withKey(key: string | undefined): Client {
    return new Client(this.url, key);
  }

  async open(path: string, options: CallOptions = {}): Promise<Response> {
    const { json, raw } = options;
    const type = raw?.type ?? (json === undefined ? undefined : "application/json");
    const body = raw?.text ?? (json === undefined ? undefined : JSON.stringify(json));
    return await fetch(this.url + path, {
      method: options.method ?? (body === undefined ? "GET" : "POST"),
      headers: {
        ...(this.#key === undefined ? {} : { authorization: `Bearer ${this.#key}` }),
        ...(type === undefined ? {} : { "content-type": type }),
        ...options.headers,
      },
      ...(body === undefined ? {} : { body }),
      signal: AbortSignal.timeout(CALL_TIMEOUT_MS),
    });
  }

  async call(path: string, options: CallOptions = {}): Promise<Answer> {
    const response = await this.open(path, options);
    return {
      status: response.status,
      contentType: response.headers.get("content-type"),
      headers: response.headers,
      text: await response.text(),
    };
  }

  async load(name: string, path: string, extra: Readonly<Record<string, unknown>> = {}): Promise<Answer> {
    return await this.call("/v1/load_lora_adapter", { json: { lora_name: name, lora_path: path, ...extra } });
  }

  async unload(name: string): Promise<Answer> {
    return await this.call("/v1/unload_lora_adapter", { json: { lora_name: name } });
  }

  /** Loads an adapter that must load. */
  async mustLoad(name: string, path: string): Promise<void> {
    expect(await this.load(name, path).then(({ status, text }) => ({ status, text }))).toEqual({
      status: 200,
      text: `Success: LoRA adapter '${name}' added successfully.`,
    });
  }

  async mustUnload(...names: readonly string[]): Promise<void> {
    for (const name of names) expect((await this.unload(name)).status, `unload ${name}`).toBe(200);
  }

  /** The text of a completion that must succeed, the same one for the same weights. */
  async text(model: string, options: { readonly prompt?: string; readonly maxTokens?: number } = {}): Promise<string> {
    const json = { model, prompt: options.prompt ?? "def add(a, b):", max_tokens: options.maxTokens ?? 8, temperature: 0 };
    const answer = await this.call("/v1/completions", { json });
    expect(answer.status, answer.text).toBe(200);
    return (JSON.parse(answer.text) as { choices: { text: string }[] }).choices[0]?.text ?? "";
  }
}

/** A stream that is read while other things happen. */
export class EventStream {
  readonly status: number;
  readonly contentType: string | null;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #decoder = new TextDecoder();
  #text = "";

  constructor(response: Response) {
    this.status = response.status;
    this.contentType = response.headers.get("content-type");
    if (response.body === null) throw new Error("a stream needs a body");
    this.#reader = response.body.getReader();
  }

  /** Waits for the first bytes. */
  async begin(): Promise<this> {
    await this.#read();
    return this;
  }

  /** Goes away. */
  async cancel(): Promise<void> {
    await this.#reader.cancel();
  }

  /** The data of all events, once the stream has ended. */
  async end(): Promise<string[]> {
    while (await this.#read());
    return this.#text
      .split("\n\n")
      .filter((part) => part !== "")
      .map((part) => part.replace(/^data: /, ""));
  }

  async #read(): Promise<boolean> {
    const { done, value } = await this.#reader.read();
    if (value !== undefined) this.#text += this.#decoder.decode(value, { stream: true });
    return !done;
  }
}

/** The text that the events of a completion make together. */
export function streamedText(events: readonly string[]): string {
  return events
    .filter((event) => event !== "[DONE]")
    .map((event) => (JSON.parse(event) as { choices: { text: string }[] }).choices[0]?.text ?? "")
    .join("");
}
