import type { Answer } from "../openai/errors.ts";

/** The model that a body names, or what to answer to a body that names none. */
export type ModelInBody = { readonly model: string } | { readonly refused: Answer };
