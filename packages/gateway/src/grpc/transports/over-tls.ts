import { Duplex } from "node:stream";
import type { TLSSocket } from "node:tls";

/**
 * A TLS connection as a plain stream. An HTTP/2 session that gets the socket itself takes its handle, and that handle aborts the process where
 * anything else writes to it at the same time; through this one, writes queue.
 */
export function overTls(socket: TLSSocket): Duplex {
  const stream = new Duplex({
    read: () => {
      socket.resume();
    },
    write: (chunk: Buffer, _encoding, done) => {
      socket.write(chunk, done);
    },
    writev: (chunks, done) => {
      socket.write(Buffer.concat(chunks.map(({ chunk }) => chunk as Buffer)), done);
    },
    final: (done) => {
      socket.end(done);
    },
    destroy: (error, done) => {
      socket.destroy();
      done(error);
    },
  });
  socket.on("data", (chunk: Buffer) => {
    if (!stream.push(chunk)) socket.pause();
  });
  socket.on("end", () => stream.push(null));
  socket.on("close", () => stream.destroy());
  return stream;
}
