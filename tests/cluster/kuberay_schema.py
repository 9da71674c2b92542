"""The fields of KubeRay 1.6's resources (`ray.io/v1`): what its operator would refuse, these models refuse.

The pods inside are Kubernetes' own types, from its Python client.
"""

from typing import Literal

from kubernetes.client import models as kubernetes
from pydantic import BaseModel, ConfigDict, StrictBool, StrictInt, StrictStr


class Fields(BaseModel):
    model_config = ConfigDict(extra="forbid")


class AuthOptions(Fields):
    mode: Literal["disabled", "token"]
    enableK8sTokenAuth: StrictBool | None = None
    secretName: StrictStr | None = None


class AutoscalerOptions(Fields):
    resources: kubernetes.V1ResourceRequirements | None = None
    image: StrictStr | None = None
    imagePullPolicy: StrictStr | None = None
    securityContext: kubernetes.V1SecurityContext | None = None
    idleTimeoutSeconds: StrictInt | None = None
    upscalingMode: Literal["Default", "Aggressive", "Conservative"] | None = None
    version: Literal["v1", "v2"] | None = None
    env: list[kubernetes.V1EnvVar] | None = None
    envFrom: list[kubernetes.V1EnvFromSource] | None = None
    volumeMounts: list[kubernetes.V1VolumeMount] | None = None


class RedisCredential(Fields):
    value: StrictStr | None = None
    valueFrom: kubernetes.V1EnvVarSource | None = None


class GcsFaultToleranceOptions(Fields):
    redisAddress: StrictStr
    redisUsername: RedisCredential | None = None
    redisPassword: RedisCredential | None = None
    externalStorageNamespace: StrictStr | None = None


class HeadGroupSpec(Fields):
    template: kubernetes.V1PodTemplateSpec
    rayStartParams: dict[str, StrictStr]
    headService: kubernetes.V1Service | None = None
    enableIngress: StrictBool | None = None
    serviceType: StrictStr | None = None


class ScaleStrategy(Fields):
    workersToDelete: list[StrictStr] | None = None


class WorkerGroupSpec(Fields):
    groupName: StrictStr
    template: kubernetes.V1PodTemplateSpec
    rayStartParams: dict[str, StrictStr]
    replicas: StrictInt
    minReplicas: StrictInt
    maxReplicas: StrictInt
    idleTimeoutSeconds: StrictInt | None = None
    suspend: StrictBool | None = None
    scaleStrategy: ScaleStrategy | None = None
    numOfHosts: StrictInt | None = None


class RayClusterSpec(Fields):
    rayVersion: StrictStr
    headGroupSpec: HeadGroupSpec
    workerGroupSpecs: list[WorkerGroupSpec]
    authOptions: AuthOptions | None = None
    autoscalerOptions: AutoscalerOptions | None = None
    enableInTreeAutoscaling: StrictBool | None = None
    gcsFaultToleranceOptions: GcsFaultToleranceOptions | None = None
    headServiceAnnotations: dict[str, StrictStr] | None = None
    managedBy: StrictStr | None = None
    suspend: StrictBool | None = None


class SubmitterConfig(Fields):
    backoffLimit: StrictInt


class RayJobSpec(Fields):
    entrypoint: StrictStr
    rayClusterSpec: RayClusterSpec
    activeDeadlineSeconds: StrictInt | None = None
    backoffLimit: StrictInt | None = None
    submitterPodTemplate: kubernetes.V1PodTemplateSpec | None = None
    metadata: dict[str, StrictStr] | None = None
    clusterSelector: dict[str, StrictStr] | None = None
    submitterConfig: SubmitterConfig | None = None
    managedBy: StrictStr | None = None
    deletionStrategy: dict | None = None
    runtimeEnvYAML: StrictStr | None = None
    jobId: StrictStr | None = None
    submissionMode: Literal["K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"] | None = None
    entrypointResources: StrictStr | None = None
    entrypointNumCpus: float | None = None
    entrypointNumGpus: float | None = None
    ttlSecondsAfterFinished: StrictInt | None = None
    shutdownAfterJobFinishes: StrictBool | None = None
    suspend: StrictBool | None = None


class RayCluster(Fields):
    apiVersion: Literal["ray.io/v1"]
    kind: Literal["RayCluster"]
    metadata: kubernetes.V1ObjectMeta
    spec: RayClusterSpec


class RayJob(Fields):
    apiVersion: Literal["ray.io/v1"]
    kind: Literal["RayJob"]
    metadata: kubernetes.V1ObjectMeta
    spec: RayJobSpec


# Each kind of the manifests, and the API version that it goes with.
KINDS: dict[str, tuple[str, type[BaseModel]]] = {
    "RayCluster": ("ray.io/v1", RayCluster),
    "RayJob": ("ray.io/v1", RayJob),
    "Namespace": ("v1", kubernetes.V1Namespace),
    "ServiceAccount": ("v1", kubernetes.V1ServiceAccount),
    "Service": ("v1", kubernetes.V1Service),
    "StatefulSet": ("apps/v1", kubernetes.V1StatefulSet),
    "NetworkPolicy": ("networking.k8s.io/v1", kubernetes.V1NetworkPolicy),
}
