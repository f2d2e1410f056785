import { dueMs as canaryDueMs, stepsOf } from "../canary.ts";
import type { Rollout, Served } from "../contents.ts";
import type { ModelAdapterObject } from "../types.ts";
import { advance } from "./advance.ts";
import { asksOf, NOTHING_HANDLED } from "./asks.ts";
import { assign, everywhere, goals } from "./assign.ts";
import { adopted, dueMs, target } from "./declared.ts";
import { afterCompletion, completed } from "./end.ts";
import { isGiven, isSame } from "./identity.ts";
import type { RolloutInput } from "./input.ts";
import { derived, established, told } from "./told.ts";
import { View } from "./view.ts";

/*
 * Which content each pod is to have: what is declared, or what served before while the declared one is not there yet, or cannot be served. Pure:
 * it goes on from what the status says and what the pods show, so that a controller that is started anew decides the same.
 *
 *   served ──edit──▶ Preparing ──all pods have it──▶ Swapping ──all pods serve it──▶ served
 *                        └── it is bad, or aborted ────┴──▶ Failed ──edit──▶ …
 *
 * With the strategy Canary Swapping goes by steps: some pods get the new content, the others keep the old one.
 */

/** Decides which content each pod is to have. Pure. */
export function rollout(i: RolloutInput): Rollout {
  const { adapter } = i;
  const nothing = { update: undefined, againAtMs: undefined, isEverywhere: true, isAnywhere: true, trials: undefined };
  if (adapter === undefined) return { ...nothing, served: undefined, pods: new Map(), handled: NOTHING_HANDLED };
  const written = told(adapter, i.nowMs);
  const said = { ...written, served: adopted(written.served, i) };
  const view = new View(i, said);
  const asks = asksOf(adapter, said.update);
  const through = afterCompletion(said, view, i, asks);
  const before = through?.before ?? derived(adapter, view, i.nowMs);
  const wanted = target(adapter, before, i);
  const served = before.served ?? established(wanted, view, i.nowMs);
  if (served === undefined) return { ...nothing, served, pods: everywhere(view, wanted), handled: asks.handled };
  const refreshAtMs = dueMs(adapter, served, i.nowMs);
  const settled = (now: Served): Rollout => ({
    ...nothing,
    served: now,
    pods: assign(view, () => now, { served: now, update: undefined }),
    againAtMs: refreshAtMs,
    isEverywhere: view.isEverywhere(now),
    isAnywhere: view.isAnywhere,
    handled: asks.handled,
  });
  if (isSame(wanted, served)) return settled(served);
  const { update, promoted } = advance(i, view, wanted, served, before.update, asks);
  const done = completed(update, before.update, view, i, asks, served);
  if (done !== undefined) return settled(done);
  const steps = stepsOf(adapter.spec.rollout);
  const stepAtMs = update.canary === undefined || steps === undefined ? undefined : canaryDueMs(steps, update.canary);
  // One that nothing came of waits, as long as there is something that it may lead on.
  const waits = asks.promote && !promoted && update.state === "Swapping" && update.canary !== undefined;
  const pods = assign(view, goals(view, served, update, steps, isPaused(adapter)), { served, update });
  return {
    served,
    update,
    pods,
    againAtMs: soonest(i.nowMs, refreshAtMs, stepAtMs),
    isEverywhere: view.isEverywhere(served),
    isAnywhere: view.isAnywhere,
    handled: waits ? { ...asks.handled, promote: adapter.status?.lastHandledPromote } : asks.handled,
    trials: isGiven(update, served) ? view.trials(update, (p) => view.mayTell && pods.get(p.uid)?.content === update.content) : undefined,
  };
}

function soonest(nowMs: number, ...times: readonly (number | undefined)[]): number | undefined {
  const toCome = times.filter((t): t is number => t !== undefined && t > nowMs);
  return toCome.length === 0 ? undefined : Math.min(...toCome);
}

function isPaused({ spec }: ModelAdapterObject): boolean {
  return spec.rollout?.paused === true;
}
