import type { Content } from "../contents.ts";
import { failureOf } from "./failure.ts";
import type { RolloutPod } from "./input.ts";
import type { View } from "./view.ts";

/**
 * The pods that are swapped now, one at a time unless more are allowed: no further one while others are in the middle of it, or may be, or have
 * not come back from it. Those that nobody is sent to come first, for they cost nothing.
 *
 * @param isWithdrawn - nobody is sent there until it has gone back: all such pods do at once
 */
export function nextToSwap(view: View, goalOf: (p: RolloutPod) => Content, isWithdrawn: (p: RolloutPod) => boolean): readonly RolloutPod[] {
  const moving = view.fresh.filter((p) => view.mayServe(p) && !view.serves(p, goalOf(p)));
  const back = moving.filter((p) => view.serving(p) && !p.listed && isWithdrawn(p));
  return [
    ...back,
    ...inTurn(
      view,
      moving.filter((p) => !back.includes(p)),
      goalOf,
    ),
  ];
}

function inTurn(view: View, open: readonly RolloutPod[], goalOf: (p: RolloutPod) => Content): readonly RolloutPod[] {
  const serving = open.filter((p) => view.serving(p));
  const atOnce = Math.max(1, Math.min(view.maxUnavailable, view.fresh.filter((p) => view.serving(p)).length - 1));
  const begun = serving.filter((p) => view.isTold(p, goalOf(p))).slice(0, atOnce);
  if (begun.length === atOnce || view.awaited.length > 0 || !view.mayTell) return begun;
  const silent = open.filter((p) => !view.serving(p));
  // It gave the old up, and has not answered with the new yet.
  const loads = (p: RolloutPod) => view.entry(p) === undefined && p.listed === false && p.call.running !== undefined;
  const between = silent.filter((p) => loads(p) || view.hasUsers(p));
  const others = serving.filter((p) => !begun.includes(p)).sort((a, b) => Number(a.listed) - Number(b.listed));
  const free = atOnce - begun.length - between.length - view.down.length;
  if (free > 0) return [...begun, ...others.slice(0, free)];
  return begun.length > 0 || between.some(loads) ? begun : others.filter((p) => !p.listed).slice(0, 1);
}

/** It has neither of two contents, and nobody is sent there, or by a weight: it is to get the one that is served first. */
export function goesBack(view: View, p: RolloutPod, served: Content, next: Content): boolean {
  const isAside = p.onTrial || (p.hasServed && !p.listed);
  if (!isAside || !view.serving(p) || view.serves(p, served) || view.serves(p, next)) return false;
  // Where that cannot be had any more, something newer is what helps.
  return failureOf(view, p, served, true) === undefined;
}
