import { relative } from "node:path";
import { describe, expect, test } from "vitest";
import { modelsShape, shapeOf } from "../shapes.ts";
import { BASE, expectAnswer, expectError, MAX_LORA_RANK, type Suite, workerMessage } from "./setup.ts";

function success(name: string): string {
  return `Success: LoRA adapter '${name}' added successfully.`;
}

function loadedAlready(name: string): string {
  return `The lora adapter '${name}' has already been loaded. If you want to load the adapter in place, set 'load_inplace' to True.`;
}

/** Cases about loading and unloading by request. */
export function loadingCases(s: Suite): void {
  describe("loading", () => {
    test("a name is served from its load to its unload", async () => {
      expectAnswer(await s.client.load("sql", s.world.path("sql")), 200, null, success("sql"));
      const models = await s.client.call("/v1/models");
      expect(shapeOf(models.text)).toBe(modelsShape(1, 1));
      expect(JSON.parse(models.text)).toMatchObject({
        data: [{ id: BASE }, { id: "sql", root: s.world.path("sql"), parent: BASE, max_model_len: null }],
      });
      expect(await s.client.text("sql")).not.toBe(await s.client.text(BASE));
      expectAnswer(await s.client.unload("sql"), 200, null, "Success: LoRA adapter 'sql' removed successfully.");
      const gone = await s.client.call("/v1/completions", { json: { model: "sql", prompt: "hello", max_tokens: 2 } });
      expectError(gone, 404, "NotFoundError", `The model \`sql\` does not exist. Valid aliases: ${BASE}.`, "model");
    });

    test("a request of one token is answered under a name that is loaded, and under no other", async () => {
      const probe = (model: string) =>
        s.client.call("/v1/completions", { json: { model, prompt: "hello", max_tokens: 1, temperature: 0 } });
      await s.client.mustLoad("probed", s.world.path("sql"));
      const answer = await probe("probed");
      expect(answer.status).toBe(200);
      expect(JSON.parse(answer.text)).toMatchObject({ model: "probed", usage: { completion_tokens: 1 } });
      await s.client.mustUnload("probed");
      expectError(await probe("probed"), 404, "NotFoundError", `The model \`probed\` does not exist. Valid aliases: ${BASE}.`, "model");
    });

    test("answers name the adapter that was asked", async () => {
      await s.client.mustLoad("named", s.world.path("sql"));
      const completion = await s.client.call("/v1/completions", { json: { model: "named", prompt: "hello", max_tokens: 2 } });
      expect(JSON.parse(completion.text)).toMatchObject({ model: "named" });
      const chat = await s.client.call("/v1/chat/completions", {
        json: { model: "named", messages: [{ role: "user", content: "hi" }], max_tokens: 2 },
      });
      expect(JSON.parse(chat.text)).toMatchObject({ model: "named" });
      expect((await s.client.call("/tokenize", { json: { model: "named", prompt: "hello" } })).status).toBe(200);
      await s.client.mustUnload("named");
    });

    test("a name is taken once it is loaded, whatever the path", async () => {
      await s.client.mustLoad("twice", s.world.path("sql"));
      for (const path of [s.world.path("sql"), s.world.path("chat")]) {
        expectError(await s.client.load("twice", path), 400, "InvalidUserInput", loadedAlready("twice"));
      }
      await s.client.mustUnload("twice");
    });

    test("in place: new weights under the same name, loaded or not", async () => {
      const voice = async (name: string) => s.target.voice(await s.client.text(name));
      await s.client.mustLoad("chat", s.world.path("chat"));
      expectAnswer(await s.client.load("swap", s.world.path("sql"), { load_inplace: true }), 200, null, success("swap"));
      expect(await voice("swap")).not.toBe(await voice("chat"));
      expectAnswer(await s.client.load("swap", s.world.path("chat"), { load_inplace: true }), 200, null, success("swap"));
      expect(await voice("swap")).toBe(await voice("chat"));
      const models = await s.client.call("/v1/models");
      expect(JSON.parse(models.text)).toMatchObject({ data: [{ id: BASE }, { id: "chat" }, { id: "swap", root: s.world.path("chat") }] });
      await s.client.mustUnload("swap", "chat");
    });

    test("two loads of one name at once: one wins", async () => {
      const answers = await Promise.all([s.client.load("race", s.world.path("sql")), s.client.load("race", s.world.path("chat"))]);
      expect(answers.map(({ status }) => status).sort()).toEqual([200, 400]);
      const loser = answers.find(({ status }) => status === 400);
      if (loser !== undefined) expectError(loser, 400, "InvalidUserInput", loadedAlready("race"));
      await s.client.mustUnload("race");
    });

    test.each(["ns/a:v1", "a,b", "with blank"])("any name will do: %s", async (name) => {
      expectAnswer(await s.client.load(name, s.world.path("code"), { foo: 1 }), 200, null, success(name));
      await s.client.text(name);
      await s.client.mustUnload(name);
    });

    test("a relative path starts in the engine's folder, and root is the path as it was sent", async () => {
      const path = relative(s.world.folder, s.world.path("code"));
      await s.client.mustLoad("relative", path);
      expect(JSON.parse((await s.client.call("/v1/models")).text)).toMatchObject({ data: [{ id: BASE }, { id: "relative", root: path }] });
      await s.client.mustUnload("relative");
    });

    test("unloading a name that is not loaded", async () => {
      for (const name of ["never", BASE])
        expectError(await s.client.unload(name), 404, "NotFoundError", `The lora adapter '${name}' cannot be found.`);
    });

    test("a number beside the name does not matter when unloading", async () => {
      await s.client.mustLoad("numbered", s.world.path("code"));
      const answer = await s.client.call("/v1/unload_lora_adapter", { json: { lora_name: "numbered", lora_int_id: 999 } });
      expect(answer.status).toBe(200);
    });
  });

  describe("the SageMaker door", () => {
    test("does the same", async () => {
      expectAnswer(
        await s.client.call("/adapters", { json: { name: "sm", src: s.world.path("code") } }),
        200,
        null,
        "Adapter sm registered",
      );
      await s.client.text("sm");
      const again = await s.client.call("/adapters", { json: { name: "sm", src: s.world.path("code") } });
      expectError(again, 400, "InvalidUserInput", loadedAlready("sm"));
      // It does not know load_inplace.
      const other = await s.client.call("/adapters", { json: { name: "sm", src: s.world.path("sql"), load_inplace: true } });
      expectError(other, 400, "InvalidUserInput", loadedAlready("sm"));
      expectAnswer(await s.client.call("/adapters/sm", { method: "DELETE" }), 200, null, "Adapter sm unregistered");
      expectError(
        await s.client.call("/adapters/sm", { method: "DELETE" }),
        404,
        "NotFoundError",
        "The lora adapter 'sm' cannot be found.",
      );
    });

    test("refuses what is not there", async () => {
      const answer = await s.client.call("/adapters", { json: { name: "sm2", src: "/nope/none" } });
      expectError(answer, 404, "NotFoundError", "Loading lora sm2 failed: No adapter found for /nope/none");
      const missing = await s.client.call("/adapters", { json: { name: "sm2" } });
      expectError(missing, 400, "Bad Request", '[{"type":"missing","loc":["src"],"msg":"Field required","input":{"name":"sm2"}}]');
    });
  });

  describe("refused adapters", () => {
    test.each([
      { name: "a path that does not exist", path: () => "/nope/none", shown: "/nope/none" },
      { name: "an empty directory", path: () => s.world.path("empty"), shown: "<path>" },
      { name: "a full model's directory", path: () => s.world.model, shown: "<path>" },
      { name: "weights alone", path: () => s.world.path("no-config"), shown: "<path>" },
      { name: "huggingface://", path: () => "huggingface://acme/sql", shown: "huggingface://acme/sql" },
      { name: "hf://", path: () => "hf://acme/sql", shown: "hf://acme/sql" },
      { name: "s3://", path: () => "s3://bucket/adapter", shown: "s3://bucket/adapter" },
      { name: "a revision", path: () => "acme/sql@main", shown: "acme/sql@main" },
      { name: "a repository that the hub does not have", path: () => "acme/none", shown: "acme/none" },
    ])("404 for $name", async ({ path, shown }) => {
      expectError(
        await s.client.load("refused", path()),
        404,
        "NotFoundError",
        `Loading lora refused failed: No adapter found for ${shown}`,
      );
    });

    test.each([
      { name: "rank16", message: workerMessage(`LoRA rank 16 is greater than max_lora_rank ${MAX_LORA_RANK}.`) },
      { name: "truncated", message: workerMessage("Error while deserializing header: incomplete metadata, file not fully covered") },
      {
        name: "wrong-base",
        message: workerMessage("The size of tensor a (64) must match the size of tensor b (128) at non-singleton dimension 1"),
      },
      {
        name: "lm-head",
        message:
          /^Call to add_lora method failed: Worker failed with error 'While loading <path>, expected target modules in \{('\w+_proj'(, )?){7}\} but received \['lm_head', 'lm_head'\]\. Please verify that the loaded LoRA module is correct', please check the stack trace above for the root cause$/,
      },
      { name: "only-bin", message: workerMessage("Invalid magic number; corrupt file?") },
      { name: "broken-config", message: workerMessage("Expecting property name enclosed in double quotes: line 2 column 1 (char 30)") },
    ] as const)("500 for $name, and the engine survives", async ({ name, message }) => {
      expectError(await s.client.load("refused", s.world.path(name)), 500, "InternalServerError", message);
      expect((await s.client.call("/health")).status).toBe(200);
      expect(JSON.parse((await s.client.call("/v1/models")).text)).toMatchObject({ data: [{ id: BASE }] });
    });

    test("the base model's name", async () => {
      expectError(
        await s.client.load(BASE, s.world.path("sql")),
        400,
        "InvalidUserInput",
        `The lora adapter '${BASE}' conflicts with a served base model.`,
      );
    });

    test("an empty name or path", async () => {
      const message = "Both 'lora_name' and 'lora_path' must be provided.";
      expectError(await s.client.load("", s.world.path("sql")), 400, "InvalidUserInput", message);
      expectError(await s.client.load("x", ""), 400, "InvalidUserInput", message);
      expectError(await s.client.unload(""), 400, "InvalidUserInput", "'lora_name' needs to be provided to unload a LoRA adapter.");
    });
  });

  describe("refused bodies", () => {
    test.each([
      {
        name: "no path",
        path: "/v1/load_lora_adapter",
        body: '{"lora_name":"x"}',
        message:
          "1 validation error:\n  {'type': 'missing', 'loc': 'body.lora_path', 'msg': 'Field required', 'input': '<dict of 1 items>'}",
        param: "body.lora_path",
      },
      {
        name: "no name to unload",
        path: "/v1/unload_lora_adapter",
        body: "{}",
        message:
          "1 validation error:\n  {'type': 'missing', 'loc': 'body.lora_name', 'msg': 'Field required', 'input': '<dict of 0 items>'}",
        param: "body.lora_name",
      },
      {
        name: "nothing at all",
        path: "/v1/load_lora_adapter",
        body: "{}",
        message:
          "2 validation errors:\n  {'type': 'missing', 'loc': 'body.lora_name', 'msg': 'Field required', 'input': '<dict of 0 items>'}\n" +
          "  {'type': 'missing', 'loc': 'body.lora_path', 'msg': 'Field required', 'input': '<dict of 0 items>'}",
        param: "body.lora_name",
      },
      {
        name: "an empty body",
        path: "/v1/load_lora_adapter",
        body: "",
        message: "1 validation error:\n  {'type': 'missing', 'loc': 'body', 'msg': 'Field required', 'input': 'None'}",
        param: "body",
      },
      {
        name: "JSON that ends early",
        path: "/v1/load_lora_adapter",
        body: '{"lora_name":',
        message:
          "1 validation error:\n  {'type': 'json_invalid', 'loc': 'body.13', 'msg': 'JSON decode error', 'input': '<dict of 0 items>', 'ctx': {'error': 'Expecting value'}}",
        param: "body.13",
      },
      {
        name: "JSON with a missing comma",
        path: "/v1/completions",
        body: '{"model":"tiny" "prompt":"x"}',
        message:
          "1 validation error:\n  {'type': 'json_invalid', 'loc': 'body.16', 'msg': 'JSON decode error', 'input': '<dict of 0 items>', 'ctx': {'error': \"Expecting ',' delimiter\"}}",
        param: "body.16",
      },
      {
        name: "a list",
        path: "/v1/load_lora_adapter",
        body: "[]",
        message:
          "1 validation error:\n  {'type': 'model_attributes_type', 'loc': 'body', 'msg': 'Input should be a valid dictionary or object to extract fields from', 'input': '<list of 0 items>'}",
        param: "body",
      },
    ])("$name", async ({ path, body, message, param }) => {
      expectError(await s.client.call(path, { raw: { text: body, type: "application/json" } }), 400, "Bad Request", message, param);
    });

    test.each(["/v1/load_lora_adapter", "/v1/completions"])("%s: no JSON by its content type", async (path) => {
      const answer = await s.client.call(path, { raw: { text: "{}", type: "text/plain" } });
      expectError(answer, 400, "Bad Request", "1 validation error:\n  Unsupported Media Type: Only 'application/json' is allowed");
    });
  });

  describe("hub", () => {
    test("org/name is fetched by the engine itself", async () => {
      await s.client.mustLoad("hub-sql", "acme/sql");
      await s.client.mustLoad("local-sql", s.world.path("sql"));
      expect(s.target.voice(await s.client.text("hub-sql"))).toBe(s.target.voice(await s.client.text("local-sql")));
      expect(JSON.parse((await s.client.call("/v1/models")).text)).toMatchObject({
        data: [{ id: BASE }, { id: "hub-sql", root: "acme/sql", parent: BASE }, {}],
      });
      await s.client.mustUnload("hub-sql");
      await s.client.mustLoad("hub-sql", "acme/sql");
      await s.client.mustUnload("hub-sql", "local-sql");
    });
  });
}
