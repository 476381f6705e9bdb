# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What follows from the pods that a node shall carry: the kernel's parameters.

Nearly all are lower bounds, because a kernel on a large machine chooses more by itself, and less is what breaks. Each carries its reason and
source, which end up as comments in the node's drop-in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.bare_metal.kubernetes.plugins.module_utils._sysctl_wishes import normal_key

# Kernel: include/linux/threads.h, PID_MAX_LIMIT of 64-bit systems.
PID_MAX_LIMIT = 4194304
# What the operating system, the kubelet and the runtime use apart from pods.
SYSTEM_PROCESSES = 32768
# Processes and threads for each pod that the machine has to have numbers for; the kubelet's podPidsLimit is what stops a single one.
PROCESSES_PER_POD = 4096
THREADS_PER_POD = 1024
# Kernel: a stack is 16 KiB on x86-64 and arm64. No more threads than what fills a quarter of the memory with stacks.
THREADS_PER_MIB = 16
# Field reports of "too many open files" at 350 pods come from the default of 128 instances for all processes of root.
INOTIFY_INSTANCES, INOTIFY_INSTANCES_PER_POD = 8192, 16
INOTIFY_WATCHES, INOTIFY_WATCHES_PER_POD = 524288, 1024
# The kernel's own are 16384; a process that follows the logs of all pods meets them all at once.
INOTIFY_EVENTS, INOTIFY_EVENTS_PER_POD = 16384, 64
# LimitNOFILE of kubelet.service and containerd.service.
OPEN_FILES = 1048576
# kube-proxy's own rule (pkg/proxy/conntrack): 32768 a CPU, at least 131072, at most 1048576. It also lowers what it finds, so it has to be
# told to leave the value alone (conntrack.maxPerCore 0) where pods ask for more than that.
CONNTRACK_PER_CPU, CONNTRACK, CONNTRACK_CPU_LIMIT = 32768, 131072, 1048576
CONNTRACK_PER_POD = 2048
# Kernel: an entry takes about 320 bytes, so 64 a MiB of memory are 2 % of it.
CONNTRACK_PER_MIB = 64

Parameters = dict[str, dict[str, Any]]

KUBELET = "kubelet, protectKernelDefaults"
IP_SYSCTL = "kernel documentation, networking/ip-sysctl"
ADMIN_FS = "kernel documentation, admin-guide/sysctl/fs"
ADMIN_KERNEL = "kernel documentation, admin-guide/sysctl/kernel"
ADMIN_VM = "kernel documentation, admin-guide/sysctl/vm"

# The role's variables for the user's own wishes, from the general to the special; the first one is cluster_kernel_parameters by default.
LEVELS = ("kernel_tuning_parameters", "kernel_tuning_group_parameters", "kernel_tuning_host_parameters")


def conntrack_max(pods_per_node: int, cpus: int, memory_mib: int) -> int:
    """Return the connections that a node has to be able to track, at most 2 % of its memory."""
    wanted = max(CONNTRACK, min(CONNTRACK_PER_CPU * cpus, CONNTRACK_CPU_LIMIT), CONNTRACK_PER_POD * pods_per_node)
    return max(CONNTRACK, min(wanted, CONNTRACK_PER_MIB * memory_mib))


def _limits(pods: int, memory_mib: int) -> Parameters:
    pids = min(PID_MAX_LIMIT, SYSTEM_PROCESSES + PROCESSES_PER_POD * pods)
    threads = max(131072, min(SYSTEM_PROCESSES + THREADS_PER_POD * pods, THREADS_PER_MIB * memory_mib))
    return {
        "fs.inotify.max_user_instances": {
            "min": max(INOTIFY_INSTANCES, INOTIFY_INSTANCES_PER_POD * pods),
            "reason": f"root's processes in {pods} pods, the kubelet and the runtime share them; 128 end at some 350 pods",
            "source": "inotify(7)",
        },
        "fs.inotify.max_user_watches": {
            "min": max(INOTIFY_WATCHES, INOTIFY_WATCHES_PER_POD * pods),
            "reason": f"mounted ConfigMaps, Secrets and logs of {pods} pods",
            "source": "inotify(7)",
        },
        "fs.inotify.max_queued_events": {
            "min": max(INOTIFY_EVENTS, INOTIFY_EVENTS_PER_POD * pods),
            "reason": "events that wait for a process in one instance; those beyond are lost",
            "source": "inotify(7)",
        },
        "fs.nr_open": {
            "min": OPEN_FILES,
            "reason": "the kubelet's and containerd's units allow so many files to a process",
            "source": ADMIN_FS,
        },
        "fs.file-max": {
            "min": max(1048576, 8192 * pods),
            "reason": "open files of all pods together",
            "source": ADMIN_FS,
        },
        "fs.aio-max-nr": {"min": 1048576, "reason": "databases in pods share 65536 otherwise", "source": ADMIN_FS},
        "kernel.pid_max": {
            "min": pids,
            "reason": f"{PROCESSES_PER_POD} process numbers for each of {pods} pods",
            "source": ADMIN_KERNEL,
        },
        "kernel.threads-max": {
            "min": threads,
            "reason": f"{THREADS_PER_POD} threads for each of {pods} pods",
            "source": ADMIN_KERNEL,
        },
        "kernel.keys.maxkeys": {
            "min": max(2000, 10 * pods),
            "reason": "every container holds a session key; 200 a user end early when pods run as the same user",
            "source": "keyrings(7)",
        },
        "kernel.keys.maxbytes": {
            "min": max(200000, 1000 * pods),
            "reason": "goes with maxkeys",
            "source": "keyrings(7)",
        },
        "vm.max_map_count": {
            "min": 262144,
            "reason": "search engines and databases map many files",
            "source": ADMIN_VM,
        },
    }


def _kubelet() -> Parameters:
    reasons = {
        "vm.overcommit_memory": (1, "limits are the cgroups' affair"),
        "vm.panic_on_oom": (0, "the OOM killer ends one container, not the node"),
        "kernel.panic": (10, "a node that has panicked comes back after 10 s"),
        "kernel.panic_on_oops": (1, "a kernel that is in doubt does not go on"),
        "kernel.keys.root_maxkeys": (1000000, "every container of root holds a session key"),
        "kernel.keys.root_maxbytes": (25000000, "25 bytes for each of root's keys"),
    }
    return {key: {"exactly": value, "reason": reason, "source": KUBELET} for key, (value, reason) in reasons.items()}


def _neighbours(pods: int, family: str) -> Parameters:
    # One entry for each pod and the machines of the rack; below thresh1 nothing is collected, above thresh3 nothing new gets in.
    floors = {"gc_thresh1": max(1024, 2 * pods), "gc_thresh2": max(4096, 8 * pods), "gc_thresh3": max(8192, 16 * pods)}
    return {
        f"net.{family}.neigh.default.{name}": {
            "min": floor,
            "reason": "a neighbour for every pod and every machine in reach",
            "source": IP_SYSCTL,
        }
        for name, floor in floors.items()
    }


def _network(pods: int, cpus: int, memory_mib: int, ipv6: bool, network_plugin: str) -> Parameters:
    bridge = {
        "exactly": 1,
        "optional": True,
        "reason": "Services reach pods behind a bridge; only where there is a bridge",
        "source": "kubeadm",
    }
    found: Parameters = {
        "net.ipv4.ip_forward": {"exactly": 1, "reason": "a node routes for its pods", "source": "kubeadm preflight"},
        "net.bridge.bridge-nf-call-iptables": bridge,
        "net.core.somaxconn": {"min": 16384, "reason": "bursts of connections to ingress and API", "source": IP_SYSCTL},
        "net.netfilter.nf_conntrack_max": {
            "min": conntrack_max(pods, cpus, memory_mib),
            "reason": f"kube-proxy's rule, and {CONNTRACK_PER_POD} connections a pod, within 2 % of the memory",
            "source": "kube-proxy, --conntrack-max-per-core",
        },
        **_neighbours(pods, "ipv4"),
    }
    if ipv6:
        found["net.ipv6.conf.all.forwarding"] = {
            "exactly": 1,
            "reason": "a node routes for its pods",
            "source": "kubeadm preflight",
        }
        found["net.bridge.bridge-nf-call-ip6tables"] = bridge
        found |= _neighbours(pods, "ipv6")
    if network_plugin == "calico":
        found["net.ipv4.conf.all.rp_filter"] = {
            "one_of": [0, 1],
            "reason": "Calico stops at loose reverse path filtering, which would let pods spoof addresses",
            "source": "Calico, Felix IgnoreLooseRPF",
        }
    return found


def kernel_parameters(
    pods_per_node: int,
    cpus: int,
    memory_mib: int,
    pod_cidrs: Sequence[str] = (),
    network_plugin: str = "calico",
    overrides: Mapping[str, Any] | Sequence[Mapping[str, Any] | None] | None = None,
) -> dict[str, Any]:
    """Return the parameters of a node in the form that ``sysctl_profile`` takes.

    :param pods_per_node: pods that the node shall carry.
    :param cpus: logical processors of the machine.
    :param memory_mib: its memory in MiB.
    :param pod_cidrs: the cluster's pod networks; one of IPv6 brings the parameters of IPv6.
    :param network_plugin: ``calico``, ``cilium`` or ``none``.
    :param overrides: the user's own parameters, or several levels of them, the more special last: each replaces the whole entry of the level
        before, in whatever spelling; null drops it.
    """
    if pods_per_node < 1 or cpus < 1 or memory_mib < 1:
        raise ValueError(
            f"pods per node, CPUs and MiB of memory are positive; they are {pods_per_node}, {cpus}, {memory_mib}"
        )
    ipv6 = any(":" in str(cidr) for cidr in pod_cidrs)
    profile = {
        **_limits(pods_per_node, memory_mib),
        **_kubelet(),
        **_network(pods_per_node, cpus, memory_mib, ipv6, network_plugin),
    }
    levels = [overrides] if isinstance(overrides, Mapping) else list(overrides or ())
    return merged([profile, *(level or {} for level in levels)])


def merged(levels: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Merge levels of parameters by name; a later one replaces the whole entry, null drops it. Two spellings in one level are two wishes."""
    found: dict[str, list[tuple[bool, Any]]] = {}
    for level in levels:
        own: dict[str, list[tuple[bool, Any]]] = {}
        for given, value in level.items():
            name = str(given).strip()
            wishes = value if isinstance(value, (list, tuple)) else [value]
            own.setdefault(normal_key(name.removeprefix("-")), []).extend(
                (name.startswith("-"), wish) for wish in wishes
            )
        found |= own
    merged_level = {}
    for key, entries in found.items():
        values = [value for _rest, value in entries if value is not None]
        if values:
            optional = all(dashed for dashed, _rest in entries)
            merged_level[f"-{key}" if optional else key] = values if len(values) > 1 else values[0]
    return merged_level
