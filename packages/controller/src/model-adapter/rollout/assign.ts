import { canaryPods, type Step } from "../canary.ts";
import type { Content, PodPlan, Rollout, Served, Update } from "../contents.ts";
import { isExact, isSameReference, NOTHING } from "./identity.ts";
import type { RolloutPod } from "./input.ts";
import { canPrepare, checkerOf, isAbandoned, resolverOf, wantsPrepare } from "./preparation.ts";
import { nextToSwap } from "./turns.ts";
import type { View } from "./view.ts";

/** Of a pod of which nothing is to be decided. */
export const NOBODY: PodPlan = {
  content: NOTHING,
  current: true,
  unrouted: false,
  alone: false,
  decided: true,
  prepare: undefined,
  checks: false,
  weight: undefined,
};

/** Which content each pod is to have. */
export function goals(
  view: View,
  served: Served,
  { state, content, canary }: Update,
  steps: readonly Step[] | undefined,
  paused: boolean,
): (p: RolloutPod) => Content {
  if (state !== "Swapping") return () => served;
  const weight = canary === undefined ? 100 : (steps?.[canary.step - 1]?.weight ?? 100);
  if (weight === 100 && !paused) return () => content;
  const chosen = new Set(view.onTrial(content, paused ? 0 : canaryPods(weight, view.share(content).pods)).map((p) => p.uid));
  return (p) => (chosen.has(p.uid) ? content : served);
}

/** Before anything was served there is nothing to be kept. */
export function everywhere(view: View, content: Content): ReadonlyMap<string, PodPlan> {
  return new Map(view.pods.map((p) => [p.uid, { ...NOBODY, content, decided: view.isDecided(p, []) }]));
}

/**
 * What each pod is told.
 *
 * @param goalOf - what each is to have in the end
 */
export function assign(
  view: View,
  goalOf: (p: RolloutPod) => Content,
  { served, update }: { readonly served: Served; readonly update: Update | undefined },
): Rollout["pods"] {
  const current = update?.content ?? served;
  const prepare = update?.state === "Preparing" ? update.content : undefined;
  const good = update === undefined ? [served] : [served, update.content];
  const isOver = update === undefined || update.reason === "UpdateAborted";
  const weights = new Map(view.pods.map((p) => [p, weightOf(view, p, served, update)]));
  const swapping = new Set(nextToSwap(view, goalOf, (p) => weights.get(p) === 0));
  const checker = prepare === undefined ? undefined : checkerOf(view, prepare);
  const resolver =
    prepare === undefined || prepare.isCheck === true || isExact(prepare) ? undefined : (checker ?? resolverOf(view, prepare));
  const others = (p: RolloutPod) =>
    view.parts.some((q) => q !== p && q.ready && !swapping.has(q) && weights.get(q) !== 0 && view.answers(q));
  return new Map(
    view.pods.map((p): [string, PodPlan] => {
      const goal = goalOf(p);
      const has = view.serves(p, goal);
      const moves = !has && view.serving(p);
      // Those whose turn has not come keep what they have.
      const content = !moves || swapping.has(p) ? goal : (view.own(p, [goal, current, served]) ?? goal);
      const isCurrent = content === goal ? isSameReference(goal, current) : false;
      const asks = prepare !== undefined && (resolver === undefined || p === resolver) && canPrepare(view, p, prepare);
      return [
        p.uid,
        {
          content,
          current: isCurrent,
          // Not only by its weight: whoever uses the slices without our gateway knows of none.
          unrouted:
            (((swapping.has(p) && moves) || weights.get(p) === 0) && others(p)) ||
            (swapping.has(p) && (view.waitsForRoom(p, goal) || (moves && view.loadsSlowly(p) && !view.keepsOld(p)))),
          alone: !others(p),
          decided: view.isDecided(p, good),
          prepare:
            (asks && wantsPrepare(view, p, prepare, p === checker)) || (isOver && isAbandoned(view, p, served))
              ? (prepare ?? served)
              : undefined,
          checks: p === checker,
          weight: weights.get(p),
        },
      ];
    }),
  );
}

/** What the gateway sends to a pod that has a content on trial; nothing to one that still has it, once it is on trial no more. */
function weightOf(view: View, p: RolloutPod, served: Served, update: Update | undefined): number | undefined {
  if (view.serves(p, served)) return undefined;
  const isNew = update !== undefined && view.serves(p, update.content);
  const isUnknown = p.view.knowledge !== "fresh";
  const { canary } = update ?? {};
  if (canary !== undefined && canary.weight < 100 && isNew) return canary.weight;
  const isThrough = update?.state === "Swapping" && (canary === undefined || canary.weight === 100);
  if (isThrough && (isNew || isUnknown)) return undefined;
  return p.onTrial ? (canary?.weight ?? 0) : undefined;
}
