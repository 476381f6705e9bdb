# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a version of Kubernetes no longer knows: flags, feature gates, and fields of KubeletConfiguration that it never had. Pure.

A component that meets an unknown flag or feature gate does not start, and says so in a log that nobody reads before the run has timed out. The tables
are the difference of the sources of Kubernetes v1.29.15, v1.35.4 and v1.36.3 (pkg/features, k8s.io/apiserver, k8s.io/component-base,
k8s.io/kubelet/config/v1beta1, cmd/*/app/options); flags that went before are from the changelogs of v1.24 to v1.35.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import cluster_schema
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster_model import (
    Host,
    Problem,
    Rule,
    View,
    registry,
)
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster_schema import kind, suggestion

RULES: dict[str, Rule] = {}
rule = registry(RULES)


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# {minor version that no longer has them: names}; what an older one has lost, a newer one does not have either.
REMOVED_GATES: Mapping[int, frozenset[str]] = {
    35: _names(
        """
        APIListChunking APIPriorityAndFairness APISelfSubjectReview AdmissionWebhookMatchConditions
        AggregatedDiscoveryEndpoint AllowServiceLBStatusOnNonLB AppArmor CPUManager CSIMigrationAzureFile
        CSIMigrationRBD CSINodeExpandSecret CloudDualStackNodeIPs ComponentSLIs ConsistentHTTPGetHandlers
        CronJobsScheduledAnnotation CustomResourceValidationExpressions DefaultHostNetworkHostPortsInPodTemplates
        DevicePluginCDIDevices DisableCloudProviders DisableKubeletCloudCredentialProviders EfficientWatchResumption
        ElasticIndexedJob ExpandedDNSConfig ExperimentalHostUserNamespaceDefaulting HPAContainerMetrics
        IPTablesOwnershipCleanup InTreePluginAWSUnregister InTreePluginAzureDiskUnregister
        InTreePluginAzureFileUnregister InTreePluginGCEUnregister InTreePluginOpenStackUnregister
        InTreePluginRBDUnregister InTreePluginvSphereUnregister JobPodFailurePolicy JobReadyPods KMSv2 KMSv2KDF
        KubeProxyDrainingTerminatingNodes KubeletPodResources KubeletPodResourcesGetAllocatable
        LegacyServiceAccountTokenCleanUp LegacyServiceAccountTokenTracking LoadBalancerIPMode
        MinDomainsInPodTopologySpread MinimizeIPTablesRestore NewVolumeManagerReconstruction
        NodeOutOfServiceVolumeDetach PDBUnhealthyPodEvictionPolicy PersistentVolumeLastPhaseTransitionTime
        PodDisruptionConditions PodHostIPs PodIndexLabel ProxyTerminatingEndpoints ReadWriteOncePod RemainingItemCount
        RemoveSelfLink SecurityContextDeny ServerSideApply ServerSideFieldValidation ServiceNodePortStaticSubrange
        SizeMemoryBackedVolumes SkipReadOnlyValidationGCE StableLoadBalancerNodeSet StatefulSetAutoDeletePVC
        StatefulSetStartOrdinal UserNamespacesPodSecurityStandards ValidatingAdmissionPolicy VolumeCapacityPriority
        WatchBookmark ZeroLimitedNominalConcurrencyShares
        """
    ),
    36: _names(
        """
        CSIMigrationPortworx HonorPVReclaimPolicy InPlacePodVerticalScalingAllocatedStatus
        InTreePluginPortworxUnregister MemoryManager ServiceTrafficDistribution StructuredAuthorizationConfiguration
        TopologyAwareHints WatchFromStorageWithoutResourceVersion
        """
    ),
}

# klog's flags, which all components had.
LOGGING = (
    "add-dir-header",
    "alsologtostderr",
    "log-backtrace-at",
    "log-dir",
    "log-file",
    "log-file-max-size",
    "logtostderr",
    "one-output",
    "skip-headers",
    "skip-log-headers",
    "stderrthreshold",
)
# {component: {flag: (minor version that no longer has it, what to do)}}
_EVERYWHERE = {flag: (26, "read the log from the container or the journal") for flag in LOGGING}
_INSECURE = {
    flag: (24, "leave it out; there is no insecure port")
    for flag in ("port", "address", "insecure-port", "insecure-bind-address")
}
REMOVED_FLAGS: Mapping[str, Mapping[str, tuple[int, str]]] = {
    "kube-apiserver": {
        **_EVERYWHERE,
        **_INSECURE,
        "cloud-config": (33, "run the cloud's own controller manager"),
        "cloud-provider": (33, "run the cloud's own controller manager"),
        "master-service-namespace": (27, "leave it out"),
        "service-account-api-audiences": (25, "use api-audiences"),
    },
    "kube-controller-manager": {
        **_EVERYWHERE,
        **_INSECURE,
        "deleting-pods-burst": (25, "leave it out"),
        "deleting-pods-qps": (25, "leave it out"),
        "enable-taint-manager": (27, "leave it out; it is always on"),
        "horizontal-pod-autoscaler-downscale-delay": (31, "use horizontal-pod-autoscaler-downscale-stabilization"),
        "horizontal-pod-autoscaler-upscale-delay": (31, "leave it out"),
        "pod-eviction-timeout": (27, "use default-unreachable-toleration-seconds of kube-apiserver"),
        "register-retry-count": (25, "leave it out"),
        "volume-host-allow-local-loopback": (31, "leave it out"),
        "volume-host-cidr-denylist": (31, "leave it out"),
    },
    "kube-scheduler": {
        **_EVERYWHERE,
        **_INSECURE,
        "algorithm-provider": (23, "use a KubeSchedulerConfiguration"),
        "policy-config-file": (23, "use a KubeSchedulerConfiguration"),
        "policy-configmap": (23, "use a KubeSchedulerConfiguration"),
    },
    "kubelet": {
        **_EVERYWHERE,
        "cloud-config": (34, "leave it out"),
        "cni-bin-dir": (24, "leave it out; containerd runs the CNI plugins"),
        "cni-conf-dir": (24, "leave it out; containerd runs the CNI plugins"),
        "container-runtime": (27, "leave it out; only remote is left"),
        "iptables-drop-bit": (31, "leave it out"),
        "iptables-masquerade-bit": (31, "leave it out"),
        "keep-terminated-pod-volumes": (31, "leave it out"),
        "master-service-namespace": (27, "leave it out"),
        "network-plugin": (24, "leave it out; containerd runs the CNI plugins"),
        "pod-infra-container-image": (35, "leave it out; containerd's configuration has the sandbox image"),
        "register-schedulable": (31, "use cluster_node_taints"),
    },
}
FLAG_VARIABLES: Mapping[str, str] = {
    "control_plane_apiserver_extra_args": "kube-apiserver",
    "control_plane_controller_manager_extra_args": "kube-controller-manager",
    "control_plane_scheduler_extra_args": "kube-scheduler",
    "kubelet_extra_arguments": "kubelet",
}
FLAG = re.compile(r"[a-z0-9][a-z0-9-]*")

# Fields of KubeletConfiguration v1beta1 in v1.36.3, and those of them that v1.35.4 does not have.
KUBELET_FIELDS = _names(
    """
    address allowedUnsafeSysctls apiVersion authentication authorization cgroupDriver cgroupRoot cgroupsPerQOS
    clusterDNS clusterDomain configMapAndSecretChangeDetectionStrategy containerLogMaxFiles containerLogMaxSize
    containerLogMaxWorkers containerLogMonitorInterval containerRuntimeEndpoint contentType cpuCFSQuota
    cpuCFSQuotaPeriod cpuManagerPolicy cpuManagerPolicyOptions cpuManagerReconcilePeriod crashLoopBackOff
    enableContentionProfiling enableControllerAttachDetach enableDebugFlagsHandler enableDebuggingHandlers
    enableProfilingHandler enableServer enableSystemLogHandler enableSystemLogQuery enforceNodeAllocatable
    eventBurst eventRecordQPS evictionHard evictionMaxPodGracePeriod evictionMinimumReclaim
    evictionPressureTransitionPeriod evictionSoft evictionSoftGracePeriod failCgroupV1 failSwapOn featureGates
    fileCheckFrequency hairpinMode healthzBindAddress healthzPort httpCheckFrequency imageGCHighThresholdPercent
    imageGCLowThresholdPercent imageMaximumGCAge imageMinimumGCAge imagePullCredentialsVerificationPolicy
    imageServiceEndpoint iptablesDropBit iptablesMasqueradeBit kernelMemcgNotification kind kubeAPIBurst kubeAPIQPS
    kubeReserved kubeReservedCgroup kubeletCgroups localStorageCapacityIsolation logging makeIPTablesUtilChains
    maxOpenFiles maxParallelImagePulls maxPods memoryManagerPolicy memoryReservationPolicy memorySwap
    memoryThrottlingFactor mergeDefaultEvictionSettings nodeLeaseDurationSeconds nodeStatusMaxImages
    nodeStatusReportFrequency nodeStatusUpdateFrequency oomScoreAdj podCIDR podLogsDir podPidsLimit podsPerCore port
    preloadedImagesVerificationAllowlist protectKernelDefaults providerID qosReserved readOnlyPort registerNode
    registerWithTaints registryBurst registryPullQPS reservedMemory reservedSystemCPUs resolvConf rotateCertificates
    runOnce runtimeRequestTimeout seccompDefault serializeImagePulls serverTLSBootstrap showHiddenMetricsForVersion
    shutdownGracePeriod shutdownGracePeriodByPodPriority shutdownGracePeriodCriticalPods singleProcessOOMKill
    staticPodPath staticPodURL staticPodURLHeader streamingConnectionIdleTimeout syncFrequency systemCgroups
    systemReserved systemReservedCgroup tlsCertFile tlsCipherSuites tlsCurvePreferences tlsMinVersion
    tlsPrivateKeyFile topologyManagerPolicy topologyManagerPolicyOptions topologyManagerScope tracing userNamespaces
    volumePluginDir volumeStatsAggPeriod
    """
)
KUBELET_FIELDS_SINCE: Mapping[str, int] = {"memoryReservationPolicy": 36, "tlsCurvePreferences": 36}


def target_minor(view: View) -> int | None:
    """The minor version of Kubernetes that is asked for: the inventory's, or the release set's default (the lock's first)."""
    versions = view.input.kubernetes_versions.get(view.common("cluster_release_set"), ())
    found = re.match(r"v?1\.(\d+)\.", str(view.common("cluster_kubernetes_version") or next(iter(versions), "")))
    return int(found.group(1)) if found else None


def gone_gates(minor: int) -> frozenset[str]:
    """The feature gates that a minor version no longer knows."""
    return frozenset().union(*(names for since, names in REMOVED_GATES.items() if since <= minor))


@rule
def flags(view: View) -> Iterator[Problem]:
    """A component does not start with a flag that it does not know; kubeadm wants names without dashes and plain values."""
    minor = target_minor(view)
    for variable, component in FLAG_VARIABLES.items():
        for host, like in view.alike(view.nodes, variable):
            for name, value in (view.value(host, variable) or {}).items():
                problem = _flag_problem(view, host, variable, component, minor, name, value)
                if problem:
                    yield replace(problem, hosts=like)


def _flag_problem(
    view: View, host: Host, variable: str, component: str, minor: int | None, name: Any, value: Any
) -> Problem | None:
    path = f"{variable}.{str(name)[:80]}"
    if not isinstance(name, str) or not FLAG.fullmatch(name):
        fix = "write its name without the dashes before it, in lower case"
        return view.about(host, path, f"is not the name of a flag of {component}", fix, value=value)
    values = value if isinstance(value, (list, tuple)) else [value]
    if any(isinstance(one, (Mapping, list, tuple)) for one in values):
        fix = "write a text, a number, true or false, or a list of them to repeat the flag"
        return view.about(host, path, f"is {kind(value)}, a flag's value is plain", fix, value=value)
    since, fix = REMOVED_FLAGS[component].get(name, (0, ""))
    if since and minor is not None and minor >= since:
        reason = f"is a flag that {component} does not have since v1.{since}; v1.{minor} does not start with it"
        return view.about(host, path, reason, fix, value=value)
    return None


def gates_of(value: Any) -> list[str]:
    """The names in a value of --feature-gates (``A=true,B=false``, or a list of these) or in a featureGates field."""
    if isinstance(value, Mapping):
        return [str(name) for name in value]
    texts = value if isinstance(value, (list, tuple)) else [value]
    return [part.partition("=")[0].strip() for text in texts if isinstance(text, str) for part in text.split(",")]


@rule
def feature_gates(view: View) -> Iterator[Problem]:
    """A component does not start with a feature gate that it does not know."""
    minor = target_minor(view)
    if minor is None:
        return
    gone = gone_gates(minor)
    places = [
        *((variable, "feature-gates") for variable in FLAG_VARIABLES),
        *((name, "featureGates") for name in ("cluster_kubelet_configuration", "kubelet_configuration")),
        ("cluster_kube_proxy_configuration", "featureGates"),
    ]
    for variable, key in places:
        for host, like in view.alike(view.nodes, variable):
            given = (view.value(host, variable) or {}).get(key)
            for gate in gates_of(given):
                if gate in gone:
                    reason = f"names the feature gate {gate}, which Kubernetes v1.{minor} does not know: the component does not start"
                    fix = "take it out; what it switched is always on, or gone"
                    yield replace(view.about(host, f"{variable}.{key}", reason, fix, value=given), hosts=like)


@rule
def kubelet_fields(view: View) -> Iterator[Problem]:
    """A misspelt field is silent: the kubelet reads its drop-ins leniently."""
    minor = target_minor(view)
    for variable in ("cluster_kubelet_configuration", "kubelet_configuration"):
        for host, like in view.alike(view.nodes, variable):
            for name, value in (view.value(host, variable) or {}).items():
                since = KUBELET_FIELDS_SINCE.get(name) if isinstance(name, str) else None
                if name in KUBELET_FIELDS and not (since and minor is not None and minor < since):
                    continue
                reason = f"is a field since v1.{since}" if since else "is not a field of KubeletConfiguration"
                fix = (
                    suggestion(str(name), KUBELET_FIELDS - {name}) or "see KubeletConfiguration v1beta1, kubernetes.io"
                )
                path = f"{variable}.{str(name)[: cluster_schema.SHOWN_CHARACTERS]}"
                yield replace(view.about(host, path, reason, fix, value=value), hosts=like)
