# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All findings of all machines in one report, and what only shows when machines are compared. Pure.

``machine_info``'s answers by host go in, findings come out. docs/preflight.md explains every check.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ansible_collections.bare_metal.kubernetes.plugins.module_utils._machine_judge import ERROR, WARNING, is_reason
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import density_limits, node_space, upgrade_steps

WAIVED = "waived"
LEVELS = (ERROR, WARNING, WAIVED)
# What one host's machine can be found wanting in.
HOST_CHECKS = (
    "announced_address",
    "announcing_source",
    "architecture",
    "cgroup",
    "container_runtime",
    "cpus",
    "disk",
    "disk_qualification",
    "disk_qualification_age",
    "disk_qualification_device",
    "disk_qualification_kernel",
    "disk_qualification_load",
    "disk_qualification_settings",
    "endpoint",
    "firewall",
    "firewall_admits",
    "hostname",
    "hostname_resolves",
    "kernel",
    "live_api_endpoint",
    "live_block_size",
    "live_domain",
    "live_encapsulation",
    "live_etcd",
    "live_families",
    "live_load_balancer_mode",
    "live_load_balancer_pools",
    "live_network_plugin",
    "live_pod_cidrs",
    "live_service_cidrs",
    "link_types",
    "load_balancer_interfaces",
    "load_balancer_segment",
    "machine_id",
    "memory",
    "metal",
    "mtu",
    "node_ip",
    "other_distribution",
    "ports",
    "resolv_conf",
    "stale_cluster",
    "supported_os",
    "swap",
    "time",
)
# What the report finds by itself.
REPORT_CHECKS = (
    "clock_skew",
    "containerd_version",
    "density",
    "duplicate_mac",
    "duplicate_machine_id",
    "duplicate_product_uuid",
    "etcd_version",
    "image_space",
    "kernel_differs",
    "kubernetes_version",
    "live_pods",
    "log_space",
    "mtu_differs",
    "not_examined",
    "os_differs",
    "speed_differs",
    "unreachable",
    "upgrade_step",
    "version_skew",
    "waivers",
)
CHECKS = tuple(sorted((*HOST_CHECKS, *REPORT_CHECKS)))
# etcd warns of its peers' clocks from one second on (rafthttp's prober).
CLOCK_WARNING_SECONDS = 1.0
MAC = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}")
# VRRP gives the same address to all routers of a group (RFC 5798, section 7.3).
VRRP_MAC = "00:00:5e:00:"
LOCALLY_ADMINISTERED = 0x02
# In these the firmware's UUID is that of the machine around them (systemd-detect-virt(1)).
CONTAINERS = frozenset(
    [
        "container-other",
        "docker",
        "lxc",
        "lxc-libvirt",
        "openvz",
        "podman",
        "pouch",
        "proot",
        "rkt",
        "systemd-nspawn",
        "wsl",
    ]
)
# What boards say whose vendor gave them no UUID.
NO_UUID = re.compile(r"0{8}-|f{8}-|03000200-0400-0500-0006-000700080009|12345678-1234-")
MOST_NAMES = 4
# Ansible's words around the reason; without the address, hosts behind one dead switch are one finding.
ADDRESSED = re.compile(r"^Task failed: |(?:the )?remote host \"[^\"]*\"")


@dataclass(frozen=True)
class Inventory:
    """What the inventory says: hosts to be examined, and by host waivers, racks and addresses; ``groups`` with all their hosts.

    ``target``: the versions that a run would install; ``loads``: what each node is to hold.
    """

    hosts: Sequence[str]
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)
    waivers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    racks: Mapping[str, str] = field(default_factory=dict)
    node_ips: Mapping[str, str] = field(default_factory=dict)
    max_clock_skew_seconds: float = 300.0
    target: upgrade_steps.Target = field(default_factory=upgrade_steps.Target)
    loads: Mapping[str, node_space.Load] = field(default_factory=dict)

    def group(self, name: str) -> list[str]:
        return list(self.groups.get(name, ()))


@dataclass(frozen=True)
class Finding:
    """One line of the report. ``hosts`` is empty for what concerns the controller; ``reason`` is the waiver's, of a ``waived`` one."""

    level: str
    check: str
    hosts: tuple[str, ...]
    what: str
    found: str
    why: str
    fix: str
    reason: str = ""

    def text(self) -> str:
        return f"{self.check}: {self.what}; found {self.found}."


Answers = Mapping[str, Mapping[str, Any]]
Machines = Mapping[str, Mapping[str, Any]]


def machines_of(answers: Answers) -> dict[str, Mapping[str, Any]]:
    """The observations of those hosts that were examined."""
    found = {}
    for host, answer in answers.items():
        machine = (answer.get("ansible_facts") or {}).get("bare_metal_machine")
        if machine and not answer.get("failed") and not answer.get("unreachable"):
            found[host] = machine
    return found


def judge(inventory: Inventory, answers: Answers) -> list[Finding]:
    """All findings, errors first: the hosts' own, those of comparing them, and those that could not be asked.

    ``answers`` is what ``machine_info`` returned by host, an unreachable or failed host's included.
    """
    answers = {host: answers.get(host) or {} for host in inventory.hosts}
    machines = machines_of(answers)
    compared = (
        *judge_unexamined(inventory, answers, machines),
        *judge_duplicates(inventory, machines),
        *judge_clocks(inventory, answers, machines),
        *judge_pools(inventory, machines),
        *judge_racks(inventory, machines),
        *judge_density(inventory, machines),
        *judge_versions(inventory, machines),
        *judge_space(inventory, machines),
    )
    found = [
        *host_findings(answers, machines),
        *(_waive(finding, inventory) for finding in compared),
        *judge_waivers(inventory),
    ]
    return _merge(found)


def host_findings(answers: Answers, machines: Machines) -> Iterator[Finding]:
    """What ``machine_info`` found on each host by itself."""
    for host in machines:
        for problem in answers[host].get("problems") or ():
            yield _of_problem(host, problem, problem["level"])
        for problem in answers[host].get("waived") or ():
            yield _of_problem(host, problem, WAIVED, problem["reason"])


def _of_problem(host: str, problem: Mapping[str, Any], level: str, reason: str = "") -> Finding:
    texts = {key: str(problem[key]) for key in ("check", "what", "found", "why", "fix")}
    return Finding(level=level, hosts=(host,), reason=reason, **texts)


def judge_unexamined(inventory: Inventory, answers: Answers, machines: Machines) -> Iterator[Finding]:
    """Hosts that were not reached, and hosts that were and could not be examined.

    A cluster that stands has to be workable with a host down, so there it is a warning as long as a control plane and a majority of etcd are left.
    """
    lost = [host for host in inventory.hosts if host not in machines]
    stands = any(machine["managed"] and machine["kubernetes_paths"] for machine in machines.values())
    voters = inventory.group("etcd")
    if not stands:
        why, level = "A new cluster is not begun without one of its hosts.", ERROR
    elif voters and 2 * len(set(voters) - set(lost)) <= len(voters):
        why, level = (
            "The etcd hosts that are left are no majority: nothing can be changed without losing the cluster's data.",
            ERROR,
        )
    elif set(inventory.group("control_plane")) <= set(lost):
        why, level = "No control plane is left that could act for the cluster.", ERROR
    else:
        why, level = "The run goes on without it, and it keeps what it has.", WARNING
    for host in lost:
        answer = answers[host]
        words = _one_line(
            ADDRESSED.sub(lambda match: "it" if "host" in match[0] else "", str(answer.get("msg") or "no answer"))
        )
        if answer.get("failed") and not answer.get("unreachable"):
            yield Finding(
                ERROR,
                "not_examined",
                (host,),
                "the host was reached, but could not be examined",
                words,
                "Nothing is known of it.",
                "Mend what the message names (Python, privileges, a variable), and run again.",
            )
        else:
            yield Finding(
                level,
                "unreachable",
                (host,),
                "the host has to be reachable",
                words,
                why,
                "Mend its connection (ansible_host, ssh keys, power), take it out of the inventory, or waive this check for it.",
            )


def judge_duplicates(inventory: Inventory, machines: Machines) -> Iterator[Finding]:
    """What has to be one machine's alone, and is on several."""
    ids = {host: [machine["machine_id"]] for host, machine in machines.items() if machine["machine_id"]}
    for value, hosts in _shared(ids):
        yield Finding(
            ERROR,
            "duplicate_machine_id",
            hosts,
            "every machine has to have its own /etc/machine-id",
            f"{value} on {len(hosts)} hosts",
            "The kubelet, systemd's DHCP client and monitoring tell machines apart by it; or several names are one machine.",
            "Empty /etc/machine-id on the copies and run systemd-machine-id-setup, or correct their addresses.",
        )
    uuids = {
        host: [machine["product_uuid"]]
        for host, machine in machines.items()
        if machine["product_uuid"] and machine["virtualization"] not in CONTAINERS
    }
    for value, hosts in _shared(uuids):
        yield Finding(
            WARNING if NO_UUID.match(value) else ERROR,
            "duplicate_product_uuid",
            hosts,
            "every machine should have its own product UUID (/sys/class/dmi/id/product_uuid)",
            f"{value} on {len(hosts)} hosts",
            "Kubernetes reports it as the node's systemUUID, and storage drivers find machines by it.",
            "Write one with the vendor's tool (the firmware's DMI data), or waive this check.",
        )
    yield from _judge_macs(inventory, machines)


def _judge_macs(inventory: Inventory, machines: Machines) -> Iterator[Finding]:
    """Addresses of the same hosts are one finding: a machine with two names has all of them twice."""
    together: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for value, hosts in _shared({host: _macs(machine) for host, machine in machines.items()}):
        used = any(_mac_of(machines[host], inventory.node_ips.get(host, "")) == value for host in hosts)
        local = int(value[:2], 16) & LOCALLY_ADMINISTERED
        together.setdefault((WARNING if local and not used else ERROR, hosts), []).append(value)
    for (level, hosts), values in together.items():
        yield Finding(
            level,
            "duplicate_mac",
            hosts,
            "a MAC address has to be of one machine",
            f"{_names(values)} on {len(hosts)} hosts",
            "Two machines with one address in a network take each other's packets; management interfaces over USB often have the same one everywhere.",
            "Correct the interface's address, or waive this check when the interfaces never meet in a network.",
        )


def _macs(machine: Mapping[str, Any]) -> list[str]:
    found = {str(entry["mac"]).lower() for entry in machine["interfaces"]}
    return [mac for mac in found if MAC.fullmatch(mac) and mac.strip("0:") and not mac.startswith(VRRP_MAC)]


def _interface(machine: Mapping[str, Any], address: str) -> Mapping[str, Any]:
    try:
        wanted = str(ipaddress.ip_address(address))
    except ValueError:
        return {}
    for entry in machine["interfaces"]:
        if wanted in (text.partition("/")[0] for text in entry["addresses"]):
            return dict(entry)
    return {}


def _mac_of(machine: Mapping[str, Any], address: str) -> str:
    return str(_interface(machine, address).get("mac", "")).lower()


def _shared(values: Mapping[str, Iterable[str]]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each value that more than one host has, with those hosts."""
    owners: dict[str, list[str]] = {}
    for host in sorted(values):
        for value in values[host]:
            owners.setdefault(value, []).append(host)
    for value in sorted(owners):
        if len(owners[value]) > 1:
            yield value, tuple(owners[value])


def clock_offsets(answers: Answers, machines: Machines) -> dict[str, tuple[float, float]]:
    """Between which two values each host's clock is ahead of the controller's, in seconds.

    The host looked at its clock twice between the question and the answer, so what the task took is the width of the interval, and no error.
    """
    found = {}
    for host, machine in machines.items():
        clock = answers[host].get("clock")
        if clock:
            ends = (machine["epoch_seconds"] - clock["received"], machine["epoch_seconds_begun"] - clock["sent"])
            found[host] = (min(ends), max(ends))
    return found


def agreed_offset(offsets: Iterable[tuple[float, float]]) -> tuple[float, float]:
    """The interval that most of the clocks agree on (Marzullo's algorithm); of several, the one nearest to the controller's clock."""
    edges = sorted([(low, 0) for low, _high in offsets] + [(high, 1) for _low, high in offsets])
    best, depth, count = (0.0, 0.0), 0, 0
    for index, (value, end) in enumerate(edges):
        count += -1 if end else 1
        if not end:
            candidate = (value, edges[index + 1][0])
            if (count, -_distance(candidate, (0.0, 0.0))) > (depth, -_distance(best, (0.0, 0.0))):
                best, depth = candidate, count
    return best


def _distance(one: tuple[float, float], other: tuple[float, float]) -> float:
    return max(0.0, one[0] - other[1], other[0] - one[1])


def judge_clocks(inventory: Inventory, answers: Answers, machines: Machines) -> Iterator[Finding]:
    """Clocks that are surely apart: by how much their intervals miss what most clocks agree on, the controller's among them."""
    offsets = clock_offsets(answers, machines)
    if not offsets:
        return
    agreed = agreed_offset([(0.0, 0.0), *offsets.values()])
    for host in ("", *sorted(offsets)):
        own = offsets.get(host, (0.0, 0.0))
        apart = _distance(own, agreed)
        if apart <= CLOCK_WARNING_SECONDS:
            continue
        direction = "ahead" if own[0] > agreed[1] else "behind"
        whose = "this host's clock" if host else "the controller's clock"
        yield Finding(
            ERROR if host and apart > inventory.max_clock_skew_seconds else WARNING,
            "clock_skew",
            (host,) if host else (),
            f"{whose} should be the others'",
            f"at least {apart:.1f} seconds {direction}",
            f"etcd warns from 1 second on; certificates and tokens made on one machine are not yet valid on another from "
            f"{inventory.max_clock_skew_seconds:g} seconds on.",
            "Let one set of NTP servers keep all clocks (os_prep_time_servers), and step this one: 'chronyc makestep'.",
        )


def pools_of(inventory: Inventory) -> dict[str, list[str]]:
    """``control_plane``, ``etcd`` hosts beside it, and workers by pool: the largest group inside ``workers`` that has the host."""
    control, workers = set(inventory.group("control_plane")), set(inventory.group("workers"))
    inside = {
        name: set(hosts) for name, hosts in inventory.groups.items() if name != "workers" and workers.issuperset(hosts)
    }
    largest_first = sorted(inside, key=lambda name: (-len(inside[name]), name))
    pools: dict[str, list[str]] = {}
    for host in inventory.hosts:
        if host in control:
            pool = "control_plane"
        elif host in workers:
            pool = next((name for name in largest_first if host in inside[name]), "workers")
        else:
            pool = "etcd"
        pools.setdefault(pool, []).append(host)
    return pools


def judge_pools(inventory: Inventory, machines: Machines) -> Iterator[Finding]:
    """Machines of one pool that run another kernel or system than most of it, or whose link is of another speed."""
    for pool, hosts in sorted(pools_of(inventory).items()):
        kernels = {host: str(machines[host]["kernel"]) for host in hosts if host in machines}
        systems = {
            host: " ".join((machines[host]["os"]["id"], machines[host]["os"]["version_id"])).strip() or "unknown"
            for host in hosts
            if host in machines
        }
        speeds = {
            host: f"{speed} Mbit/s"
            for host in hosts
            if host in machines
            and (speed := _interface(machines[host], inventory.node_ips.get(host, "")).get("speed_mbps"))
        }
        yield from _differing(
            "speed_differs",
            speeds,
            f"the machines of {pool} should have one speed on the interface with the node's address",
            "A bad cable or port lets a link come up slower, and everything that waits for this machine is slow.",
            "Look at cable, optics and switch port ('ethtool INTERFACE'); or give other machines a group of their own inside workers.",
        )
        for check, noun, values in (("kernel_differs", "kernel", kernels), ("os_differs", "system", systems)):
            yield from _differing(
                check,
                values,
                f"the machines of {pool} should run one {noun}",
                "A fault that only some machines of a pool have is the hardest to find.",
                "Update and reboot those that are behind.",
            )


def judge_racks(inventory: Inventory, machines: Machines) -> Iterator[Finding]:
    """Nodes of a rack whose interfaces to it have another MTU than most."""
    racks: dict[str, dict[str, str]] = {}
    nodes = {*inventory.group("control_plane"), *inventory.group("workers")}
    for host in inventory.hosts:
        mtu = _interface(machines[host], inventory.node_ips.get(host, "")).get("mtu") if host in machines else None
        if mtu and host in nodes:
            racks.setdefault(str(inventory.racks.get(host) or ""), {})[host] = str(mtu)
    for rack, mtus in sorted(racks.items()):
        yield from _differing(
            "mtu_differs",
            mtus,
            f"the nodes of rack {rack} should have one MTU"
            if rack
            else "nodes that are in no rack should have one MTU",
            "Large packets from one to the other are lost without a word, and only they.",
            "Set the same MTU on their interfaces and switch ports.",
        )


def judge_versions(inventory: Inventory, machines: Machines) -> Iterator[Finding]:
    """The steps from the versions that live to those that are wanted. What this collection did not make is ``stale_cluster``'s."""
    live = {host: machine.get("versions") or {} for host, machine in machines.items() if machine["managed"]}
    for note in upgrade_steps.judge(inventory.target, live):
        yield Finding(*note)


def judge_space(inventory: Inventory, machines: Machines) -> Iterator[Finding]:
    """Nodes on whose file systems images or logs do not fit."""
    for host, machine in machines.items():
        if host in inventory.loads:
            for note in node_space.judge(machine, inventory.loads[host]):
                yield Finding(note.level, note.check, (host,), *note[2:])


def judge_density(inventory: Inventory, machines: Machines) -> Iterator[Finding]:
    """Nodes that are to carry more pods than the machine can, with the most that it can."""
    for host, load in inventory.loads.items():
        if host not in machines:
            continue
        running = int(machines[host].get("pods") or 0)
        if running > load.pods:
            yield Finding(
                WARNING,
                "live_pods",
                (host,),
                f"cluster_pods_per_node asks for {load.pods} pods",
                f"a kubelet that has {running}",
                "At its restart the kubelet admits its pods anew, oldest first, and fails those beyond maxPods.",
                "Drain the node first (kubectl drain), or ask for more. Pods that have ended and are still in the API count here and not for the kubelet.",
            )
        disk = (machines[host].get("disks") or {}).get(node_space.LOGS) or {}
        machine = density_limits.Machine(
            memory_mib=int(machines[host].get("memory_mib") or 0),
            disk_mib=int(disk.get("size_mib") or 0),
            shared_mib=load.shared_mib,
            cpus=int(machines[host].get("cpus") or 0),
            control_plane=load.control_plane,
        )
        found = density_limits.exceeded(load.pods, machine, load.settings)
        if found:
            yield Finding(
                ERROR,
                "density",
                (host,),
                f"cluster_pods_per_node asks for {load.pods} pods",
                f"a machine for {found[0].most}",
                f"It carries at most {density_limits.words(found)}.",
                f"Set cluster_pods_per_node to {found[0].most} or less for it, or use a larger machine.",
            )


def _differing(check: str, values: Mapping[str, str], what: str, why: str, fix: str) -> Iterator[Finding]:
    """A warning of the hosts whose value is not the most common one (of equals, the first)."""
    by_value: dict[str, list[str]] = {}
    for host in sorted(values):
        by_value.setdefault(values[host], []).append(host)
    if len(by_value) < 2:
        return
    common = min(by_value, key=lambda value: (-len(by_value[value]), value))
    others = tuple(host for host in sorted(values) if values[host] != common)
    found = "; ".join(f"{value} on {_names(by_value[value])}" for value in sorted(by_value))
    # The check's name stands here as a value: every caller's is in REPORT_CHECKS.
    yield Finding(WARNING, check, others, what, found, why, fix)


def judge_waivers(inventory: Inventory) -> Iterator[Finding]:
    """Waivers that waive nothing: without a reason, or of a check that does not exist."""
    for host in inventory.hosts:
        for name, reason in (inventory.waivers.get(host) or {}).items():
            if name not in CHECKS:
                near = difflib.get_close_matches(str(name), CHECKS, 1)
                yield Finding(
                    WARNING,
                    "waivers",
                    (host,),
                    "os_prep_waivers names checks",
                    f"'{_one_line(name)}', which is none",
                    "It waives nothing.",
                    f"Did you mean {near[0]}?" if near else "docs/preflight.md lists the checks.",
                )
            elif not is_reason(reason):
                yield Finding(
                    ERROR,
                    "waivers",
                    (host,),
                    f"the waiver of {name} needs a reason",
                    f"{reason!r}",
                    "A waiver is a decision that the next reader has to understand; without a reason it waives nothing.",
                    f"Write os_prep_waivers: {{{name}: why this is fine here}}.",
                )


def _waive(finding: Finding, inventory: Inventory) -> Finding:
    """The finding, or its waived form when every host of it waives its check."""
    hosts = finding.hosts or tuple(inventory.hosts)
    reasons = [(inventory.waivers.get(host) or {}).get(finding.check) for host in hosts]
    if reasons and all(map(is_reason, reasons)):
        return replace(finding, level=WAIVED, reason="; ".join(sorted({str(reason) for reason in reasons})))
    return finding


def _merge(findings: Iterable[Finding]) -> list[Finding]:
    """Equal findings of several hosts as one, sorted by level, check and hosts."""
    together: dict[Finding, list[str]] = {}
    for finding in findings:
        together.setdefault(replace(finding, hosts=()), []).extend(finding.hosts)
    merged = [replace(finding, hosts=tuple(sorted(set(hosts)))) for finding, hosts in together.items()]
    return sorted(merged, key=lambda finding: (LEVELS.index(finding.level), finding.check, finding.hosts, finding.what))


# --- what is printed and written ------------------------------------------------------------------------------------------------------------


def _one_line(value: Any) -> str:
    """A value from a machine as one printable line: its control characters must not reach the terminal."""
    text = " ".join(str(value).split())
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:500]


def _names(hosts: Sequence[str]) -> str:
    if len(hosts) <= MOST_NAMES:
        return ", ".join(hosts)
    return f"{', '.join(hosts[: MOST_NAMES - 1])} and {len(hosts) - MOST_NAMES + 1} more"


def _subjects(finding: Finding, hosts: Sequence[str]) -> str:
    if not finding.hosts:
        return "controller"
    if len(finding.hosts) == len(hosts) > 1:
        return f"all {len(hosts)} hosts"
    return _names(finding.hosts)


def count(findings: Iterable[Finding], level: str) -> int:
    """Number of findings of a level."""
    return sum(finding.level == level for finding in findings)


def summary(findings: Sequence[Finding], hosts: Sequence[str]) -> str:
    """One line: how many hosts and findings."""
    errors, warnings, waived = (count(findings, level) for level in LEVELS)
    parts = [f"{errors} error{'' if errors == 1 else 's'}", f"{warnings} warning{'' if warnings == 1 else 's'}"]
    return f"{len(hosts)} host{'' if len(hosts) == 1 else 's'}: {', '.join(parts)}, {waived} waived"


def table(findings: Sequence[Finding], hosts: Sequence[str]) -> str:
    """The report for a terminal: one entry a finding, with why and what to do below it. Lines are not broken, so that they can be searched."""
    rows = [(finding.level, _subjects(finding, hosts), finding) for finding in findings]
    levels = max((len(level) for level, _who, _finding in rows), default=0)
    names = max((len(who) for _level, who, _finding in rows), default=0)
    lines = [f"PREFLIGHT of {summary(findings, hosts)}"]
    for level, who, finding in rows:
        lines.append(f"{level:<{levels}}  {who:<{names}}  {_one_line(finding.text())}")
        below = f"Waived: {finding.reason}" if finding.level == WAIVED else f"{finding.why} {finding.fix}"
        lines.append(f"{'':<{levels}}  {'':<{names}}  {_one_line(below)}")
    return "\n".join(lines)


def message(findings: Sequence[Finding], hosts: Sequence[str]) -> str:
    """Why the run stops: every error with its hosts; the table above it says why and what to do."""
    errors = [finding for finding in findings if finding.level == ERROR]
    head = f"Preflight of {summary(findings, hosts)}. Nothing was changed on any host."
    lines = [f"- {_subjects(finding, hosts)}: {_one_line(finding.text())}" for finding in errors]
    return "\n".join([head, *lines])


def as_data(findings: Sequence[Finding], hosts: Sequence[str]) -> dict[str, Any]:
    """The report as JSON: counts, hosts, and each finding with its hosts."""
    return {
        "schema": 1,
        "hosts": sorted(hosts),
        "error_count": count(findings, ERROR),
        "warning_count": count(findings, WARNING),
        "waived_count": count(findings, WAIVED),
        "findings": [{**asdict(finding), "hosts": list(finding.hosts)} for finding in findings],
    }
