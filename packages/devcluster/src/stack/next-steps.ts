import { type CommandTexts, shellWord } from "./commands.ts";

/** What the texts after a start depend on. */
export interface NextStepsInput {
  readonly gateway: string;
  /** A base model's name; `undefined` while no engine has told one. */
  readonly baseModel: string | undefined;
  /** A served adapter's name. */
  readonly adapter: string | undefined;
  readonly apiKeyFile: string | undefined;
  readonly adaptersDir: string;
  readonly hub: string;
  /** URL of the local S3 server's example, where that server runs. */
  readonly s3Example: string | undefined;
  readonly commands: CommandTexts;
  readonly detached: boolean;
}

/** What to type next, for a user who has just started a stack. */
export function nextSteps(input: NextStepsInput): readonly string[] {
  const { baseModel, adapter, commands } = input;
  return [
    ...(baseModel === undefined ? [] : ["", "Ask the base model:", ...curl(input, baseModel)]),
    ...(adapter === undefined ? [] : ["", "Ask an adapter:", ...curl(input, adapter)]),
    "",
    `Serve another adapter: put its ModelAdapter manifest into ${input.adaptersDir}; remove the file to take it away.`,
    `huggingface:// artifacts come from ${input.hub}`,
    ...(input.s3Example === undefined
      ? []
      : [`s3:// artifacts come from the local S3 server, such as artifactURL: ${input.s3Example} (credentials: stack.json)`]),
    "",
    `What is served:   ${commands.status}`,
    `End everything:   ${commands.stop}${input.detached ? "" : "  (or Ctrl-C here)"}`,
  ];
}

function curl({ gateway, apiKeyFile }: NextStepsInput, model: string): readonly string[] {
  const body = JSON.stringify({ model, prompt: "San Francisco is a", max_tokens: 16, temperature: 0 });
  const key = apiKeyFile === undefined ? [] : [`    -H "Authorization: Bearer $(cat ${shellWord(apiKeyFile)})" \\`];
  return [`  curl ${gateway}/v1/completions \\`, "    -H 'Content-Type: application/json' \\", ...key, `    -d '${body}'`];
}
