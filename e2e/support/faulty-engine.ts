import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from "node:http";

/** Stands before an engine and spoils some of its answers: which ones, a story says. */
export class FaultyEngine implements AsyncDisposable {
  readonly #server: Server;
  /** How many answers it has spoiled. */
  spoilt = 0;

  private constructor(engine: URL, spoils: (answer: string) => boolean) {
    this.#server = createServer((asked, reply) => this.#pass(engine, spoils, asked, reply));
  }

  /**
   * @param engine - where the real one answers
   * @param spoils - whether a completion, as the engine has written it whole, becomes an error of status 500
   */
  static async start(host: string, port: number, engine: URL, spoils: (answer: string) => boolean): Promise<FaultyEngine> {
    const faulty = new FaultyEngine(engine, spoils);
    await new Promise<void>((resolve, reject) => {
      faulty.#server.once("error", reject);
      faulty.#server.listen(port, host, resolve);
    });
    return faulty;
  }

  #pass(engine: URL, spoils: (answer: string) => boolean, asked: IncomingMessage, reply: ServerResponse): void {
    const { method, headers, url = "/" } = asked;
    const passed = request(new URL(url, engine), { method, headers }, (answer) => {
      const parts: Buffer[] = [];
      answer.on("data", (part: Buffer) => parts.push(part));
      answer.on("error", () => reply.destroy());
      answer.on("end", () => {
        const body = Buffer.concat(parts);
        if (url === "/v1/completions" && answer.statusCode === 200 && spoils(body.toString())) {
          this.spoilt++;
          reply.writeHead(500, { "content-type": "application/json" }).end('{"error":{"message":"planted","code":500}}');
        } else reply.writeHead(answer.statusCode ?? 502, { "content-type": answer.headers["content-type"] ?? "text/plain" }).end(body);
      });
    });
    passed.on("error", () => reply.destroy());
    reply.on("close", () => passed.destroy());
    asked.pipe(passed);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
