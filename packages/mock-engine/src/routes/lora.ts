import type { FastifyInstance } from "fastify";
import { checkFields, type JsonObject } from "../body.ts";
import { sendText } from "../http.ts";
import { type RouteContext, readBody, refuse } from "./context.ts";

const LOAD_RULES = {
  lora_name: { type: "string", required: true },
  lora_path: { type: "string", required: true },
  load_inplace: { type: "boolean" },
} as const;
const UNLOAD_RULES = { lora_name: { type: "string", required: true } } as const;
/** Routes that change adapters. They exist only where VLLM_ALLOW_RUNTIME_LORA_UPDATING is set; elsewhere they are 404. */
export function loraRoutes(app: FastifyInstance, context: RouteContext): void {
  const { engine } = context;

  app.post("/v1/load_lora_adapter", async (request, reply) => {
    const body = readBody(request);
    if (!body.ok) return refuse(context, reply, body.refusal);
    const invalid = checkFields(body.value, LOAD_RULES);
    if (invalid !== undefined) return refuse(context, reply, invalid);
    const name = body.value.lora_name as string;
    const refusal = await engine.load({ name, path: body.value.lora_path as string, inPlace: body.value.load_inplace === true });
    if (refusal !== undefined) return refuse(context, reply, refusal);
    sendText(reply, `Success: LoRA adapter '${name}' added successfully.`);
  });

  app.post("/v1/unload_lora_adapter", async (request, reply) => {
    const body = readBody(request);
    if (!body.ok) return refuse(context, reply, body.refusal);
    const invalid = checkFields(body.value, UNLOAD_RULES);
    if (invalid !== undefined) return refuse(context, reply, invalid);
    const name = body.value.lora_name as string;
    const refusal = await engine.unload(name);
    if (refusal !== undefined) return refuse(context, reply, refusal);
    sendText(reply, `Success: LoRA adapter '${name}' removed successfully.`);
  });

  // The SageMaker door does the same without a key, because only /v1 is guarded. It knows no load_inplace.
  app.post("/adapters", async (request, reply) => {
    const body = parseJson(request.body);
    const missing = ["name", "src"].filter((field) => typeof body?.[field] !== "string" || body[field] === "");
    if (missing.length > 0) {
      const errors = missing.map((field) => ({ type: "missing", loc: [field], msg: "Field required", input: body ?? "" }));
      return refuse(context, reply, { status: 400, type: "Bad Request", message: JSON.stringify(errors) });
    }
    const name = body?.name as string;
    const refusal = await engine.load({ name, path: body?.src as string, inPlace: false });
    if (refusal !== undefined) return refuse(context, reply, refusal);
    sendText(reply, `Adapter ${name} registered`);
  });

  app.delete<{ Params: { name: string } }>("/adapters/:name", async (request, reply) => {
    const { name } = request.params;
    const refusal = await engine.unload(name);
    if (refusal !== undefined) return refuse(context, reply, refusal);
    sendText(reply, `Adapter ${name} unregistered`);
  });
}

/** A body as the SageMaker library reads it: whatever its type is called. */
function parseJson(body: unknown): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(body instanceof Buffer ? body.toString("utf8") : "");
    return typeof value === "object" && value !== null ? (value as JsonObject) : undefined;
  } catch {
    return undefined;
  }
}
