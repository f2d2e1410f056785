export { ensureKubernetes, KUBERNETES_VERSION, type KubernetesBinaries } from "./kubernetes/binaries.ts";
export { buildKubernetes, type KubernetesProgram } from "./kubernetes/build.ts";
export {
  type Caller,
  type ClientConfig,
  type ControlPlane,
  type ControlPlaneOptions,
  startControlPlane,
} from "./kubernetes/control-plane.ts";
export { ENVOY_GATEWAY_VERSION, ensureGatewayCrds } from "./parts/gateway-crds.ts";
