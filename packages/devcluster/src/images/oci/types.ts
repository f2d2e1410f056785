/** Points at a blob by its digest. */
export interface Descriptor {
  readonly mediaType: string;
  /** `sha256:` and 64 hexadecimal digits. */
  readonly digest: string;
  /** Bytes. */
  readonly size: number;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** Points at an image in an index of several. */
export interface IndexEntry extends Descriptor {
  readonly platform?: { readonly os: string; readonly architecture: string };
}

/** An image of one platform. */
export interface Manifest {
  readonly schemaVersion: 2;
  readonly mediaType?: string;
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
}

/** How a container of an image is started; names as the OCI image specification has them. */
export interface ContainerConfig {
  readonly User?: string;
  readonly Env?: readonly string[];
  readonly Entrypoint?: readonly string[];
  readonly Cmd?: readonly string[];
  readonly WorkingDir?: string;
  readonly Labels?: Readonly<Record<string, string>>;
}

export const MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json";
export const CONFIG_TYPE = "application/vnd.oci.image.config.v1+json";
/** Not compressed: these images travel between programs of one machine, where compression costs more than it saves. */
export const LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar";
/** The annotation that names an image in a layout. */
export const REF_NAME = "org.opencontainers.image.ref.name";
