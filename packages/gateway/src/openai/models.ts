import type { ModelCard } from "../routing/types.ts";
import { type Answer, modelNotFound } from "./errors.ts";

function entry(card: ModelCard): object {
  return {
    id: card.id,
    object: "model",
    created: card.createdSec,
    owned_by: "aibrix",
    root: card.root,
    parent: card.parent ?? null,
  };
}

function ok(body: object): Answer {
  return { status: 200, body: JSON.stringify(body), headers: {}, details: "aibrix_models" };
}

/** `GET /v1/models`: what can be used now. */
export function modelList(cards: readonly ModelCard[]): Answer {
  return ok({ object: "list", data: cards.map(entry) });
}

/** `GET /v1/models/{id}`. */
export function oneModel(id: string, card: ModelCard | undefined): Answer {
  return card === undefined ? modelNotFound(id) : ok(entry(card));
}
