import { isSmokeName, RUNTIME_PATHS } from "@aibrix/api";
import type { FastifyPluginAsyncTypebox } from "@fastify/type-provider-typebox";
import { RequestError } from "../errors.ts";
import type { AppDeps } from "./deps.ts";

/** `GET /v1/models`: the engine's list as last seen, without adapters that are being taken away, and content that is only being checked. */
export function modelRoutes({ manager, observer }: AppDeps): FastifyPluginAsyncTypebox {
  return async (app) => {
    app.get(RUNTIME_PATHS.models, async () => {
      const { models, unauthorized, message } = observer.view;
      if (models === undefined)
        throw new RequestError(
          503,
          unauthorized ? "EngineUnauthorized" : "EngineUnavailable",
          message ?? "the engine has not listed its models yet",
        );
      const data = [...models.values()].filter((m) => !manager.isRemoving(m.id) && !isSmokeName(m.id)).map((m) => m.raw);
      return { object: "list", data };
    });
  };
}
