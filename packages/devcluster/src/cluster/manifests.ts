import { parseAllDocuments, stringify } from "yaml";
import type { Deployment, Meta } from "./objects.ts";

type Json = null | boolean | number | string | readonly Json[] | { readonly [field: string]: Json };

/** Manifests as they are applied, and what is waited for. */
export interface Manifests {
  /** YAML */
  readonly text: string;
  readonly deployments: readonly Meta[];
  /** Names of the images as they are pulled, sorted. */
  readonly images: readonly string[];
}

/**
 * What `kubectl kustomize` printed, with a prefix before every image's name where one is given. Pure.
 *
 * @param imageRegistry - for example `registry.example.com/aibrix-dev`: `aibrix/runtime:dev` becomes `registry.example.com/aibrix-dev/aibrix/runtime:dev`
 */
export function readManifests(rendered: string, imageRegistry: string | undefined): Manifests {
  const images = new Set<string>();
  const objects = parseAllDocuments(rendered)
    .map((document) => document.toJS() as Json)
    .filter((object) => object !== null)
    .map((object) => withImages(object, (image) => imageAt(imageRegistry, image), images));
  const deployments = objects.filter((o) => isObject(o) && o.kind === "Deployment").map((o) => (o as unknown as Deployment).metadata);
  return {
    text: objects.map((o) => stringify(o)).join("---\n"),
    deployments: deployments.map(({ name, namespace }) => ({ name, ...(namespace === undefined ? {} : { namespace }) })),
    images: [...images].sort(),
  };
}

/**
 * An image's name at a registry of the user's. Pure.
 * @param imageRegistry - for example `registry.example.com/aibrix-dev`; nothing changes where it is undefined
 */
export function imageAt(imageRegistry: string | undefined, image: string): string {
  return imageRegistry === undefined ? image : `${imageRegistry}/${image.replace(/^docker\.io\//, "")}`;
}

const IN_CONTAINERS: ReadonlySet<string> = new Set(["container", "containers", "initContainers"]);

/** Renames every `image` of an entry of `containers` or `initContainers`, or of the `container` of an EnvoyProxy. */
function withImages(value: Json, rename: (image: string) => string, found: Set<string>, inContainers = false): Json {
  if (Array.isArray(value)) return value.map((v: Json) => withImages(v, rename, found, inContainers));
  if (!isObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, v]) => {
      if (inContainers && key === "image" && typeof v === "string") {
        const image = rename(v);
        found.add(image);
        return [key, image];
      }
      return [key, withImages(v, rename, found, IN_CONTAINERS.has(key))];
    }),
  );
}

function isObject(value: Json): value is { readonly [field: string]: Json } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
