export type { ClusterDeps, ClusterHandle, ClusterKind, ClusterProvider } from "./cluster/provider.ts";
export { type EnvoyOptions, envoyBootstrap } from "./envoy/bootstrap.ts";
export { ENGINES_CLUSTER, EXT_PROC_CLUSTER } from "./envoy/clusters.ts";
export type { Address, Json, JsonObject } from "./envoy/types.ts";
export { type AdapterOptions, writeAdapter } from "./fixtures/adapter.ts";
export { writeBaseModel } from "./fixtures/base-model.ts";
export { BROKEN_ADAPTER_KINDS, type BrokenAdapterKind, writeBrokenAdapter } from "./fixtures/broken-adapter.ts";
export { programFile } from "./fixtures/program.ts";
export { type Tensor, writeSafetensors } from "./fixtures/safetensors.ts";
export type { HubCall, HubOptions } from "./hub/app.ts";
export { type Hub, startHub } from "./hub/hub.ts";
export { ownImages } from "./images/catalog.ts";
export { ensureImages, type ImagesContext, type ReadyImage } from "./images/ensure-images.ts";
export type { ImageSpec } from "./images/spec.ts";
export type { ClientConfig } from "./kubernetes/api-client.ts";
export { ensureKubernetes, KUBERNETES_VERSION, type KubernetesBinaries } from "./kubernetes/binaries.ts";
export { buildKubernetes, type KubernetesProgram } from "./kubernetes/build.ts";
export {
  type Caller,
  type ControlPlane,
  type ControlPlaneOptions,
  startControlPlane,
} from "./kubernetes/control-plane.ts";
export { type NodeNames, nodeNames } from "./kubernetes/node/names.ts";
export { CertificateAuthority } from "./kubernetes/pki.ts";
export { cacheRoot } from "./parts/cache.ts";
export { type EnvoyPaths, ensureEnvoy } from "./parts/envoy.ts";
export { type EnvoyGatewayPaths, ensureEgctl, ensureEnvoyGateway } from "./parts/envoy-gateway.ts";
export { ensureFakeGcs, type FakeGcsPaths } from "./parts/fake-gcs.ts";
export { ensureGatewayBench, type GatewayBenchPaths } from "./parts/gateway-bench.ts";
export { ENVOY_GATEWAY_VERSION, ensureGatewayCrds } from "./parts/gateway-charts.ts";
export { ensureNginx, type NginxPaths } from "./parts/nginx.ts";
export { type PartContext, PartError } from "./parts/part-context.ts";
export { ensurePrometheus, type PrometheusPaths } from "./parts/prometheus.ts";
export { ensurePythonClients, type PythonClients } from "./parts/python-clients.ts";
export { ensureS5cmd, type S5cmdPaths } from "./parts/s5cmd.ts";
export { ensureVersitygw, type VersitygwPaths } from "./parts/versitygw.ts";
export { ensureVllm, type VllmPaths } from "./parts/vllm.ts";
export { type ServeCommand, type VllmServeOptions, vllmServeCommand } from "./parts/vllm-serve.ts";
export { fillHub, S3_BUCKET, writeS3Files } from "./stack/fixtures.ts";
export { fillBucket } from "./stack/s3-content.ts";
export type { KubernetesFile, StackEngine, StackFile, StackS3, StandaloneFile } from "./stack/stack-file.ts";
