import type { TypeBoxTypeProvider } from "@fastify/type-provider-typebox";
import Fastify, { type FastifyError, type FastifyInstance } from "fastify";
import { AdapterError, errorBody, errorDetail, RequestError, stackOf, statusOf } from "./errors.ts";
import { adapterRoutes } from "./routes/adapters.ts";
import { baseModelRoutes } from "./routes/base-models.ts";
import { checkRoutes } from "./routes/check.ts";
import { contentRoutes } from "./routes/contents.ts";
import type { AppDeps } from "./routes/deps.ts";
import { healthRoutes } from "./routes/health.ts";
import { modelRoutes } from "./routes/models.ts";

/** What to write where a field of a request has another form than its schema says. */
const REMEDIES: Readonly<Record<string, string>> = {
  lora_name: "write at most 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit",
  artifact_url: "write an artifactURL as a ModelAdapter has it",
  credentials: "write an object of strings",
  additional_config: "write an object of strings",
  cleanup_local: "write true or false",
  credentials_hosts: "write a list of hosts: files.example.com, *.example.com or host:port",
  owner: "write who declares it, 1 to 400 characters, or leave it out",
  deep: "write true or false",
  model_uri: "write huggingface://ORG/REPO, ORG/REPO, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX",
  local_dir: "write an absolute path below --models-dir",
  allow_file_suffix: "write suffixes separated by commas: json, safetensors",
  probe: "write auto or off",
  grace_seconds: "write seconds, a whole number from 0 to 3600",
  adopt: "write true or false",
  peers: "write at most 8 sidecars' addresses, http://10.0.0.5:8080 for example",
  digest: "write a content digest, sha256: and 64 hex digits",
  limits: 'write an object such as {"max_lora_rank": 16}',
};

/** The HTTP API, apart from listening. */
export function build(deps: AppDeps): FastifyInstance {
  const app = Fastify({
    forceCloseConnections: true,
    // A field that is not in the contract is an error, never dropped in silence; nor is a number taken for a string.
    ajv: { customOptions: { removeAdditional: false, coerceTypes: false, useDefaults: true } },
  }).withTypeProvider<TypeBoxTypeProvider>();
  app.setErrorHandler<FastifyError | RequestError | AdapterError>((error, _request, reply) => {
    if (error instanceof AdapterError) return reply.code(statusOf(error)).send({ error: errorDetail(error) });
    if (error instanceof RequestError)
      return reply.code(error.status).send(errorBody(error.code, error.message, error.status >= 500, error.cause));
    if (error.validation !== undefined) return reply.code(400).send(errorBody("InvalidRequest", validationMessage(error), false));
    const status = error.statusCode ?? 500;
    if (status < 500)
      return reply.code(status).send(errorBody(status === 413 ? "PayloadTooLarge" : "InvalidRequest", error.message, false));
    deps.log.error({ stack: stackOf(error) }, "a request ended by an error that nobody expected");
    return reply.code(500).send(errorBody("Internal", "an error that nobody expected: look into the runtime's log", true));
  });
  app.setNotFoundHandler((request, reply) =>
    reply.code(404).send(errorBody("NotFound", `there is no ${request.method} ${request.url.split("?")[0]}`, false)),
  );
  void app.register(adapterRoutes(deps));
  void app.register(checkRoutes(deps));
  void app.register(modelRoutes(deps));
  void app.register(baseModelRoutes(deps));
  void app.register(contentRoutes(deps));
  void app.register(healthRoutes(deps));
  return app;
}

function validationMessage(error: FastifyError): string {
  const [first] = error.validation ?? [];
  const missing = first?.params.missingProperty;
  const extra = first?.params.additionalProperty;
  if (typeof missing === "string") return `${missing}: is required; ${REMEDIES[missing] ?? "add it"}`;
  if (typeof extra === "string") return `${extra}: is not a field of this request; remove it or mend its spelling`;
  const field = first?.instancePath.split("/")[1] ?? "";
  if (field === "") return "the body must be a JSON object";
  return `${field}: ${first?.message ?? "cannot be used"}; ${REMEDIES[field] ?? "mend it"}`;
}
