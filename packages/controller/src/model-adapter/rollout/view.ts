import type { AdapterView } from "../../engines/agent.ts";
import { engineRoot } from "../../pods/delivery.ts";
import type { Share } from "../canary.ts";
import type { Content, Trial, Trials, Update } from "../contents.ts";
import { isGiven, NOTHING, pinnable, urlOfRoot } from "./identity.ts";
import type { Before, RolloutInput, RolloutPod } from "./input.ts";

/** Of the second or so for which Envoy tries again, with pauses that vary, what is sure; in milliseconds. */
const SLOW_LOAD_MS = 300;

/** What pods show, in the words of a rollout. */
export class View {
  readonly pods: readonly RolloutPod[];
  /** Pods that are to have the adapter. */
  readonly parts: readonly RolloutPod[];
  /** Of these, those that are known. */
  readonly fresh: readonly RolloutPod[];
  /** And those that clients may be sent to, and that have not said yet what they have. */
  readonly awaited: readonly RolloutPod[];
  readonly #name: string;
  /** New content has to answer prompts first. */
  readonly hasChecks: boolean;
  /** It was said that no older content is served any more. */
  readonly #promised: boolean;
  readonly maxUnavailable: number;
  /** The Secrets in use can be read: without them no pod can be told anything. */
  readonly mayTell: boolean;
  /** What was seen of pods that were given the content on its way. */
  readonly #tried: ReadonlyMap<string, Trial>;
  /** The content on its way where pods have been given it already, and nobody remembers which. */
  readonly #forgotten: Content | undefined;

  /** @param before - what the status tells */
  constructor({ pods, name, adapter, trials, secretTrouble }: RolloutInput, { served, update }: Before) {
    const given = isGiven(update, served) ? update : undefined;
    const isKnown = trials !== undefined && trials.startMs === given?.startMs;
    this.#tried = isKnown ? trials.pods : new Map();
    this.#forgotten = isKnown ? undefined : given?.content;
    this.#name = name;
    this.hasChecks = (adapter?.spec.rollout?.checks ?? []).length > 0;
    this.#promised = adapter?.status?.conditions?.some((c) => c.type === "Updated" && c.status === "True") === true;
    this.mayTell = secretTrouble === undefined;
    this.maxUnavailable = adapter?.spec.rollout?.rollingUpdate?.maxUnavailable ?? 1;
    this.pods = [...pods].sort((a, b) => (a.name < b.name ? -1 : 1));
    this.parts = this.pods.filter((p) => p.takesPart);
    this.fresh = this.parts.filter((p) => p.view.knowledge === "fresh");
    this.awaited = this.parts.filter((p) => p.view.knowledge === "awaited" && p.hasAddress && (p.hasServed || p.listed));
  }

  entry(p: RolloutPod): AdapterView | undefined {
    const entry = p.view.adapters.get(this.#name);
    return entry === undefined || entry.base || p.doubtful || entry.own === false ? undefined : entry;
  }

  /** Its engine could serve it now. */
  mayServe(p: RolloutPod): boolean {
    return p.ready && (p.via === "direct" || p.view.engineReady);
  }

  /** Something answers there under the name. */
  serving(p: RolloutPod): boolean {
    return p.view.knowledge === "fresh" && this.mayServe(p) && this.entry(p)?.serving === true;
  }

  /** The same, or nothing is known to the contrary. */
  answers(p: RolloutPod): boolean {
    return this.serving(p) || (p.view.knowledge === "awaited" && p.listed);
  }

  /** Somebody's requests go there, or went. A pod that never served anything holds nobody up. */
  hasUsers(p: RolloutPod): boolean {
    return p.hasServed || this.serving(p);
  }

  /** Of pods that serve, one with the content that most of them have. */
  mostAlike(pods: readonly RolloutPod[]): RolloutPod | undefined {
    const alike = Map.groupBy(pods, (p) => {
      const entry = this.entry(p);
      return entry?.contentDigest ?? entry?.artifactUrl ?? entry?.root;
    });
    return [...alike.values()].sort((a, b) => b.length - a.length)[0]?.[0];
  }

  /**
   * Whether clients may be sent to what a pod serves: to one of the contents that are decided on. A pod that has another one, from before an edit
   * was taken back, say, keeps its place until its turn has come, so that never many leave at once; but not once it was told that nothing older
   * is served.
   */
  isDecided(p: RolloutPod, good: readonly Content[]): boolean {
    // Before it answers, what was decided last stays.
    if (p.view.knowledge === "awaited") return p.listed || !this.parts.some((q) => q.listed);
    if (p.view.knowledge !== "fresh" || this.entry(p) === undefined || good.length === 0) return true;
    return this.#hasAny(p, good) || (p.listed && !(this.#promised && this.parts.some((q) => q.listed && this.#hasAny(q, good))));
  }

  #hasAny(p: RolloutPod, good: readonly Content[]): boolean {
    return good.some((c) => this.serves(p, c) || this.#waitsFor(p, c, good));
  }

  /** It was told an update's content, and serves what it had before: nothing more exact is known of a path that is read in place. */
  #waitsFor(p: RolloutPod, content: Content, good: readonly Content[]): boolean {
    const entry = this.entry(p);
    const [served] = good;
    if (content === served || entry?.state !== "Updating" || !this.isTold(p, content)) return false;
    return served?.digest === undefined || entry.contentDigest === undefined;
  }

  /** Whether every pod that clients may be sent to serves a content. */
  isEverywhere(content: Content): boolean {
    return this.parts.every(
      (p) => !p.listed || p.view.knowledge === "lost" || (p.view.knowledge === "fresh" && !this.serving(p)) || this.serves(p, content),
    );
  }

  /** Whether a pod serves, or nothing is known to the contrary. */
  get isAnywhere(): boolean {
    return this.parts.some((p) => this.answers(p));
  }

  /** It is on its way back there: its engine starts, say. */
  isComing(p: RolloutPod): boolean {
    const entry = this.entry(p);
    return p.via === "sidecar" && entry !== undefined && entry.state !== "Failed";
  }

  serves(p: RolloutPod, content: Content): boolean {
    const entry = this.entry(p);
    if (entry === undefined || !this.serving(p)) return false;
    if (content.isRefresh === true && content.digest === undefined) return false;
    if (p.via === "direct") return entry.root === engineRoot(p.delivery(content));
    if (content.digest !== undefined && entry.contentDigest !== undefined) return entry.contentDigest === content.digest;
    return entry.state === "Serving" && entry.artifactUrl === content.url;
  }

  /** The same, of what it was told by these words, whatever they led to. */
  servesDeclared(p: RolloutPod, content: Content): boolean {
    const entry = this.entry(p);
    if (p.via === "direct" || entry === undefined) return this.serves(p, content);
    return this.serving(p) && entry.state === "Serving" && entry.artifactUrl === content.url;
  }

  /** What it has of these; else what it says itself. */
  own(p: RolloutPod, contents: readonly Content[]): Content | undefined {
    const known = contents.find((c) => this.serves(p, c));
    if (known !== undefined) return known;
    const entry = this.entry(p);
    const url = p.via === "sidecar" ? entry?.artifactUrl : urlOfRoot(entry?.root);
    return url === undefined
      ? undefined
      : { ...NOTHING, url, digest: p.via === "sidecar" && pinnable(url) ? entry?.declaredDigest : undefined };
  }

  /** A pod that serves a content, where every pod does that clients may be sent to. */
  firstOfAll(content: Content): RolloutPod | undefined {
    const open = [...this.awaited, ...this.fresh.filter((p) => this.hasUsers(p) && this.mayServe(p))];
    return open.every((p) => this.serves(p, content)) ? open[0] : undefined;
  }

  /** It serves a content, or was told to. */
  #has(p: RolloutPod, content: Content): boolean {
    return p.view.knowledge === "fresh" ? this.serves(p, content) || this.isTold(p, content) : p.onTrial;
  }

  share(content: Content): Share {
    const told = this.parts.filter((p) => this.#has(p, content) && (p.view.knowledge !== "fresh" || this.mayServe(p)));
    const serving = this.fresh.filter((p) => this.serves(p, content)).length;
    return {
      pods: new Set([...told, ...this.parts.filter((p) => this.answers(p) || this.#isBetween(p))]).size,
      serving,
      told: told.length,
      everywhere: this.firstOfAll(content) !== undefined,
      old: this.fresh.filter((p) => this.serving(p)).length - serving,
      known: this.awaited.length === 0,
    };
  }

  /**
   * What is known by now of the pods that were given the content of an update.
   *
   * @param isGiven - it is told the content in this turn
   */
  trials({ content, startMs }: Update, isGiven: (p: RolloutPod) => boolean): Trials {
    const down = new Set(this.down);
    const pods = this.pods.flatMap((p): [string, Trial][] => {
      const before = this.#tried.get(p.uid);
      // An engine that is away and never took anything says nothing about the content that awaits it.
      const isNow = p.takesPart && this.mayServe(p) && (this.serves(p, content) || this.isTold(p, content) || isGiven(p));
      const served = before?.served === true || this.serves(p, content);
      if (isNow || down.has(p)) return [[p.uid, { restarts: before?.restarts ?? p.engineRestarts, served }]];
      return before === undefined || !p.takesPart || this.serving(p) ? [] : [[p.uid, before]];
    });
    return { startMs, pods: new Map(pods) };
  }

  /**
   * A pod whose engine was started anew since it was given the content on its way.
   *
   * @param isTrial - it is the content alone that is judged: else one that has served it may have ended once for the sake of something else
   */
  restarted(isTrial: boolean): RolloutPod | undefined {
    return this.#given.find((p) => {
      const trial = this.#tried.get(p.uid);
      return trial !== undefined && p.engineRestarts > trial.restarts + (trial.served && !isTrial ? 1 : 0);
    });
  }

  /** Pods that were given the content on its way, and could not serve anything now. */
  get down(): readonly RolloutPod[] {
    return this.#given.filter((p) => !(p.view.knowledge === "fresh" && this.mayServe(p)));
  }

  /** Also those that do not serve, and have given their replica to another pod for that: it was this content that they were given. */
  get #given(): readonly RolloutPod[] {
    return this.pods.filter((p) => !p.ends && this.#wasGiven(p));
  }

  #wasGiven(p: RolloutPod): boolean {
    if (this.#tried.has(p.uid)) return true;
    if (this.#forgotten === undefined || !p.takesPart || !p.hasServed || p.view.knowledge !== "fresh") return false;
    // Of an engine without sidecar that is away nobody knows what it was asked for.
    return p.via === "direct" ? this.entry(p) === undefined : this.isTold(p, this.#forgotten);
  }

  /** It served, and gave up what it had: it is being swapped, or was when whoever asked for it ended. */
  #isBetween(p: RolloutPod): boolean {
    return p.view.knowledge === "fresh" && p.via === "direct" && p.hasServed && this.mayServe(p) && this.entry(p) === undefined;
  }

  /**
   * The pods that have a content on trial, or are to get it: those that have it already, and as many more as are missing. One that has got it and
   * does not serve any more has no successor before it is gone: a content that ends engines would go from pod to pod.
   *
   * @param wanted - how many there are to be
   */
  onTrial(content: Content, wanted: number): readonly RolloutPod[] {
    const { down } = this;
    const has = this.pods.filter((p) =>
      p.takesPart ? this.#has(p, content) || (this.#tried.has(p.uid) && !this.serving(p)) : down.includes(p),
    );
    const others = this.fresh.filter((p) => !has.includes(p) && this.mayServe(p));
    const more = [...others.filter((p) => this.#isBetween(p)), ...others.filter((p) => this.serving(p))];
    return [...has, ...more.slice(0, Math.max(0, wanted - has.length))];
  }

  /**
   * A pod's engine has no room for old and new content besides what runs, so that requests of the old one have to end, and new ones would never let
   * them. Once nobody is sent there for that, it stays so until the new content serves.
   */
  waitsForRoom(p: RolloutPod, content: Content): boolean {
    const entry = this.entry(p);
    if (p.via === "direct") return this.serving(p) && (entry?.waits === true || (!p.listed && !this.keepsOld(p)));
    if (entry?.state !== "Updating" || !this.serving(p) || !this.isTold(p, content)) return false;
    return entry.waits === true || !p.listed;
  }

  /** An engine without sidecar did not give up what it has: an unload that failed has left it as it was. */
  keepsOld(p: RolloutPod): boolean {
    return p.via === "direct" && p.call.failure?.kind === "unload";
  }

  /** Its last load took longer than Envoy tries requests again that meet an engine between two contents, or nobody knows how long it took. */
  loadsSlowly(p: RolloutPod): boolean {
    return (this.entry(p)?.timings?.loadMs ?? Number.POSITIVE_INFINITY) > SLOW_LOAD_MS;
  }

  /** Whether it was told to serve a content, and serves another one until that is in. */
  isTold(p: RolloutPod, { url, digest, isRefresh = false }: Content): boolean {
    const entry = this.entry(p);
    if (p.via === "direct" || entry?.artifactUrl !== url) return false;
    return (digest === undefined && !isRefresh) || entry.declaredDigest === digest;
  }
}
