# Copyright (c) The bare_metal.kubernetes maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What has to be done to make what is into what the inventory wants. Pure.

What stands is recognised by labels: the lab's name, and a hash of what a thing was made from. A thing with another hash is made anew; a
container that exists and does not work is restarted, as one would a machine.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from bmk_lab.model import PODMAN_HOST_NUMBER, Host, Segment, Topology

LABEL_LAB = "bare-metal-kubernetes.lab"
LABEL_SPEC = "bare-metal-kubernetes.spec"
IMAGE_REPOSITORY = "localhost/bare-metal-kubernetes-lab"


class Kind(StrEnum):
    INSTALL_PACKAGES = "install packages"
    RECORD_HOST = "record the host's kernel parameters"
    RAISE_LIMITS = "raise"
    BUILD_IMAGE = "build image"
    WRITE_FILES = "write files"
    REMOVE_CONTAINER = "remove container"
    REMOVE_VOLUME = "remove volume"
    REMOVE_NETWORK = "remove network"
    CREATE_NETWORK = "create network"
    CREATE_CONTAINER = "create container"
    START_CONTAINER = "start container"
    RESTART_CONTAINER = "restart container"
    REFRESH = "apply files in"
    RESTORE_HOST = "restore the host's kernel parameters"
    REMOVE_DIRECTORY = "remove directory"


@dataclass(frozen=True)
class Action:
    kind: Kind
    target: str
    reason: str

    def __str__(self) -> str:
        return (
            f"{self.kind.value} {self.target} ({self.reason})" if self.target else f"{self.kind.value} ({self.reason})"
        )


@dataclass(frozen=True)
class Container:
    """`state` is podman's; `broken` says why a running one needs a restart, `unset` why its boot script must run again; empty if it works."""

    spec: str
    state: str
    broken: str = ""
    unset: str = ""


@dataclass(frozen=True)
class Observed:
    """Only things with this lab's label, except `image`.

    `stale_files` names hosts whose files in /lab differ from what is wanted, `low_limits` the host's parameters that are too small, with what
    they must be.
    """

    missing_packages: tuple[str, ...] = ()
    host_recorded: bool = True
    low_limits: Mapping[str, str] = field(default_factory=dict)
    image: bool = True
    networks: Mapping[str, str] = field(default_factory=dict)
    containers: Mapping[str, Container] = field(default_factory=dict)
    volumes: frozenset[str] = frozenset()
    stale_files: frozenset[str] = frozenset()
    other_labs: bool = False
    directory: bool = False


def spec_hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _network_options(segment: Segment) -> list[str]:
    # An internal network without DNS gives the host no address unless it is told to; the controller needs one to reach the machines.
    second = segment.subnet6
    return [
        "--internal",
        "--disable-dns",
        f"--subnet={segment.subnet}",
        f"--gateway={segment.subnet[PODMAN_HOST_NUMBER]}",
        *(["--ipv6", f"--subnet={second}", f"--gateway={second[PODMAN_HOST_NUMBER]}"] if second else []),
    ]


def network_spec(segment: Segment) -> str:
    return spec_hash([segment.network, *_network_options(segment)])


def volume_name(host: Host, path: str) -> str:
    return f"{host.container}{path.replace('/', '-')}"


def network_arguments(lab: str, segment: Segment) -> list[str]:
    """What follows `podman network create`."""
    labels = [f"--label={LABEL_LAB}={lab}", f"--label={LABEL_SPEC}={network_spec(segment)}"]
    return [*_network_options(segment), *labels, segment.network]


def container_arguments(lab: str, host: Host, image: str, files: str) -> list[str]:
    """What follows `podman run` apart from the resource limits; docs/lab.md says what breaks without each.

    :param image: name with tag. :param files: directory on the host that is /lab in the node.
    """
    legs = [
        f"--network={leg.segment.network}:ip={leg.address},{f'ip6={leg.address6},' if leg.address6 else ''}mac={leg.mac},interface_name={leg.interface}"
        for leg in host.legs
    ]
    volumes = [f"--volume={volume_name(host, path)}:{path}" for path in host.volumes]
    return [
        f"--name={host.container}",
        f"--hostname={host.name}",
        "--privileged",
        "--systemd=false",
        "--env=container=podman",
        "--stop-signal=SIGRTMIN+3",
        "--cgroupns=private",
        "--pids-limit=-1",
        "--tmpfs=/run",
        "--tmpfs=/run/lock",
        "--tmpfs=/tmp",
        f"--volume={files}:/lab:ro",
        *volumes,
        *legs,
        f"--label={LABEL_LAB}={lab}",
        image,
    ]


def container_spec(arguments: list[str]) -> str:
    return spec_hash(arguments)


# Asked inside a machine, a word a line; `judge_health` reads the answer.
HEALTH = """systemctl is-system-running
systemctl is-active lab-boot ssh
[ ! -s /lab/routes ] || [ -n "$(ip route show default)" ] && echo routed || echo unrouted
"""


def judge_health(container: Container, returncode: int, output: str) -> Container:
    """A running container with what is wrong with it. One that is still booting is not broken.

    :param output: of HEALTH; :param returncode: negative when there was no answer in time.
    """
    words = output.split()
    if returncode < 0 or len(words) != 4:
        return replace(container, broken="it does not answer")
    system, boot, ssh, route = words
    if system in ("initializing", "starting"):
        return container
    if system not in ("running", "degraded"):
        return replace(container, broken=f"systemd is {system}")
    if ssh != "active":
        return replace(container, broken=f"ssh.service is {ssh}")
    if boot != "active":
        return replace(container, unset=f"lab-boot.service is {boot}")
    return replace(container, unset="it has no default route") if route != "routed" else container


def _container_action(host: Host, found: Container | None, spec: str, rebuilt: Iterable[str]) -> Action | None:
    if found is None:
        return Action(Kind.CREATE_CONTAINER, host.name, "it is missing")
    if found.spec != spec:
        return Action(Kind.CREATE_CONTAINER, host.name, "its description changed")
    if any(leg.segment.network in rebuilt for leg in host.legs):
        return Action(Kind.CREATE_CONTAINER, host.name, "its network changed")
    if found.state != "running":
        return Action(Kind.START_CONTAINER, host.name, f"it is {found.state}")
    if found.broken:
        return Action(Kind.RESTART_CONTAINER, host.name, found.broken)
    if found.unset:
        return Action(Kind.REFRESH, host.name, found.unset)
    return None


def plan_create(topology: Topology, observed: Observed, specs: Mapping[str, str]) -> list[Action]:
    """In the order in which they are to be done.

    :param specs: `{host name: container_spec(...)}`.
    """
    actions: list[Action] = []
    if observed.missing_packages:
        actions.append(Action(Kind.INSTALL_PACKAGES, " ".join(observed.missing_packages), "the lab needs them"))
    if not observed.host_recorded:
        actions.append(Action(Kind.RECORD_HOST, "", "the machines share them with the host"))
    if observed.low_limits:
        values = " ".join(f"{name}={value}" for name, value in sorted(observed.low_limits.items()))
        actions.append(Action(Kind.RAISE_LIMITS, values, "all machines together need more; lab-down puts it back"))
    if not observed.image:
        actions.append(Action(Kind.BUILD_IMAGE, "", "there is none from this recipe"))

    wanted = {segment.network: segment for segment in topology.segments}
    rebuilt = {
        name for name, spec in observed.networks.items() if name in wanted and spec != network_spec(wanted[name])
    }
    steps = {
        host.name: step
        for host in topology.hosts
        if (step := _container_action(host, observed.containers.get(host.container), specs[host.name], rebuilt))
    }
    created = {name for name, step in steps.items() if step.kind is Kind.CREATE_CONTAINER}
    hosts = {host.container: host for host in topology.hosts}
    actions += [
        Action(
            Kind.REMOVE_CONTAINER,
            name,
            "it is not in the inventory" if name not in hosts else steps[hosts[name].name].reason,
        )
        for name in sorted(observed.containers)
        if name not in hosts or hosts[name].name in created
    ]
    # A machine that is made anew has empty disks.
    kept = {volume_name(host, path) for host in topology.hosts if host.name not in created for path in host.volumes}
    actions += [Action(Kind.REMOVE_VOLUME, name, "its machine is gone") for name in sorted(observed.volumes - kept)]
    for name in sorted(observed.networks):
        if name not in wanted or name in rebuilt:
            actions.append(
                Action(
                    Kind.REMOVE_NETWORK,
                    name,
                    "its description changed" if name in wanted else "it is not in the inventory",
                )
            )
    for name, segment in wanted.items():
        if name not in observed.networks or name in rebuilt:
            actions.append(Action(Kind.CREATE_NETWORK, segment.name, f"{segment.subnet}"))

    if observed.stale_files:
        actions.append(
            Action(Kind.WRITE_FILES, " ".join(sorted(observed.stale_files)), "they differ from what is wanted")
        )
    # Routers first: what boots behind them finds its way at once.
    order = sorted(topology.hosts, key=lambda host: (not host.router, host.name))
    actions += [steps[host.name] for host in order if host.name in steps]
    actions += [
        Action(Kind.REFRESH, host.name, "its files changed")
        for host in order
        if host.name in observed.stale_files and host.name not in steps
    ]
    return actions


def plan_destroy(observed: Observed) -> list[Action]:
    """Everything with the lab's label, then its directory; the host's parameters when this was the last lab."""
    reason = "the lab goes"
    actions = [Action(Kind.REMOVE_CONTAINER, name, reason) for name in sorted(observed.containers)]
    actions += [Action(Kind.REMOVE_VOLUME, name, reason) for name in sorted(observed.volumes)]
    actions += [Action(Kind.REMOVE_NETWORK, name, reason) for name in sorted(observed.networks)]
    if observed.host_recorded and not observed.other_labs:
        actions.append(Action(Kind.RESTORE_HOST, "", "no lab is left"))
    if observed.directory:
        actions.append(Action(Kind.REMOVE_DIRECTORY, "", reason))
    return actions
