/** Types of a ModelAdapter's conditions, in the order in which they are shown. */
export const CONDITION_TYPES = ["Initialized", "Scheduled", "Ready", "Updated"] as const;

/** Reasons that a condition, a sidecar's state or an event may give. Each has one meaning everywhere. */
export const REASONS = {
  // What the declaration says cannot work, or cannot work here.
  InvalidManifest: "the manifest is not a valid ModelAdapter",
  DuplicateName: "another manifest of the same name came first",
  NotSelected: "the podSelector matches no label of this engine",
  InvalidArtifactURL: "the artifactURL is of no kind that can be loaded",
  SecretNotFound: "a Secret or a key in it that the adapter names does not exist",
  SecretForbidden: "the controller may not read a Secret that the adapter names",
  SecretUnavailable: "the API server did not answer for a Secret that the adapter names",
  // What the storage said.
  ArtifactNotFound: "the artifact does not exist where the artifactURL points",
  ArtifactDenied: "the storage refused the credentials, or wants some",
  ArtifactUnavailable: "the storage did not answer, or answered with an error",
  ArtifactNotAllowed: "the runtime may not connect to this address, or not with this Secret",
  ArtifactInvalid: "the files are not an adapter that can be loaded safely",
  ArtifactChanged: "the source has other content by now than the one that was decided on",
  ArtifactUnfit: "the adapter does not fit the engine: its rank, the modules that it changes, or the size of its base model",
  StorageFull: "there is no room for the artifact on the volume",
  FolderTaken: "another model, or something else, is in the folder that a model should get",
  // What the engine said.
  EngineUnavailable: "the engine does not answer",
  EngineUnauthorized: "the engine wants an API key, or another one",
  EngineRuntimeUpdatingDisabled: "the engine does not take adapters while it runs",
  EngineRefused: "the engine refused the adapter",
  NameConflict: "the engine has something else under this name",
  ProbeFailed: "the engine lists the adapter and does not answer a request under its name",
  // What a cluster makes of it.
  ModelAdapterPending: "the adapter was seen, and work on it began",
  Scheduled: "pods were chosen for the adapter",
  ModelAdapterAvailable: "at least one pod answered that it serves the adapter",
  ModelAdapterLoading: "chosen pods are fetching or loading the adapter",
  ModelAdapterDeleting: "the adapter is being taken away",
  UpdatePreparing: "pods fetch and check the new content, and serve the old one",
  UpdateRolling: "the new content takes the old one's place, pod after pod",
  Updated: "every pod that clients are sent to serves the new content, and no other",
  CheckFailed: "the new content did not answer a prompt of spec.rollout.checks as expected",
  ChecksUnsupported: "no pod of the adapter has a sidecar that could have new content answer prompts first",
  RefreshUnsupported: "the engine reads the files itself, so that nobody can tell, or change, what a reference leads to",
  NoMatchingPods: "no pod matches the podSelector",
  PodsNotReady: "the pods that match are not ready",
  EngineNotSupported: "the pods run an engine that cannot take adapters from here",
  VolumeMissing: "the artifact's files cannot get to the engine, for want of a shared volume or of the sidecar",
  RuntimeUnavailable: "the sidecar does not answer",
  RankTooHigh: "no pod that matches takes adapters of this rank",
  NameIsBaseModel: "a base model of the namespace has this name",
  NameHeldElsewhere: "an older model of this name in another namespace answers to the plain name",
  NotOurs: "somebody else declared the adapter of this name to the sidecar",
  NameLabelDiffers: "the label model.aibrix.ai/name is not the adapter's name",
  ServiceNotOwned: "a Service of the adapter's name belongs to somebody else",
  EndpointsNotWritten: "the API server did not take the adapter's Service or EndpointSlices",
} as const;
export type Reason = keyof typeof REASONS;
