# Copyright (c) The bare_metal.kubernetes maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Observe, plan, act: the half of the lab that touches the machine."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bmk_lab import host as machine
from bmk_lab import image
from bmk_lab.directory import SOCKET_DIRECTORY_MAXIMUM, Directory, make_key, public_key, read_text
from bmk_lab.model import Host, LabError, Topology
from bmk_lab.parse import parse_sessions, with_server
from bmk_lab.plan import (
    HEALTH,
    LABEL_LAB,
    LABEL_SPEC,
    Action,
    Container,
    Kind,
    Observed,
    container_arguments,
    container_spec,
    judge_health,
    network_arguments,
    plan_create,
    plan_destroy,
    volume_name,
)
from bmk_lab.podman import podman, power_off, sweep_after_reboot
from bmk_lab.render import host_files, known_hosts

BOOT_SCRIPT = Path(__file__).with_name("boot.sh")
BOOT_SECONDS = 180.0
ANSWER_SECONDS = 90.0
WORKERS = 8
# Go's zero time: podman's word for a container that never ran.
NEVER = "0001-01-01"


class Lab:
    """One lab: its topology, its directory, and what is done to it. `say` is told each step."""

    def __init__(self, topology: Topology, directory: Path, say: Callable[[str], None] = lambda text: None) -> None:
        self.topology = topology
        self.directory = Directory(directory)
        self.say = say
        if len(str(self.directory.sockets)) > SOCKET_DIRECTORY_MAXIMUM:
            raise LabError(
                f"{self.directory.sockets}: too long for ssh's control sockets (at most {SOCKET_DIRECTORY_MAXIMUM} characters): "
                "set BARE_METAL_KUBERNETES_CACHE to a shorter path"
            )

    # -- what is wanted ---------------------------------------------------------------------------------------------------------------

    def _arguments(self, host: Host) -> list[str]:
        return container_arguments(self.topology.name, host, image.image_name(), str(self.directory.host(host)))

    def _specs(self) -> dict[str, str]:
        return {host.name: container_spec(self._arguments(host)) for host in self.topology.hosts}

    def _wanted_files(self, host: Host) -> dict[str, str]:
        return {
            **host_files(host, self.topology),
            "boot.sh": BOOT_SCRIPT.read_text(),
            "authorized_keys": public_key(self.directory.key) + "\n",
        }

    # -- what is ------------------------------------------------------------------------------------------------------------------------

    def _examined(self, name: str, container: Container) -> Container:
        """Asked twice before it is called broken: a restart is a high price for a busy host's slow answer."""
        found = container
        for pause in (0, 3):
            time.sleep(pause)
            try:
                done = machine.run(["podman", "exec", name, "sh", "-c", HEALTH], timeout=ANSWER_SECONDS, check=False)
                found = judge_health(container, done.returncode, done.stdout)
            except LabError:
                found = judge_health(container, -1, "")
            if not found.broken:
                break
        return found

    def _labelled(self, *what: str) -> list[dict[str, object]]:
        text = podman(*what, "--filter", f"label={LABEL_LAB}={self.topology.name}", "--format", "json")
        return json.loads(text or "[]") or []

    def containers(self) -> dict[str, Container]:
        found: dict[str, Container] = {}
        for entry in self._labelled("ps", "--all"):
            names, labels = entry["Names"], entry["Labels"]
            assert isinstance(names, list) and isinstance(labels, dict)
            found[names[0]] = Container(str(labels.get(LABEL_SPEC, "")), str(entry["State"]))
        running = [name for name, container in found.items() if container.state == "running"]
        with ThreadPoolExecutor(WORKERS) as pool:
            examined = pool.map(lambda name: self._examined(name, found[name]), running)
            found.update(zip(running, examined, strict=True))
        return found

    def _stale_files(self) -> frozenset[str]:
        if not self.directory.key.exists():
            return frozenset(host.name for host in self.topology.hosts)
        return frozenset(
            host.name
            for host in self.topology.hosts
            if not (self.directory.host(host) / "ssh_host_ed25519_key").exists()
            or any(
                read_text(self.directory.host(host) / name) != text for name, text in self._wanted_files(host).items()
            )
        )

    def _other_labs(self) -> bool:
        text = podman("ps", "--all", "--filter", f"label={LABEL_LAB}", "--format", "json")
        return any(entry["Labels"][LABEL_LAB] != self.topology.name for entry in json.loads(text or "[]") or [])

    def observe(self) -> Observed:
        status = machine.run(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n"]).stdout
        missing = machine.missing_packages(status)
        recorded = machine.recorded_sysctls(self.directory.host_record) is not None
        limits = machine.too_low(machine.read_limits())
        if "podman" in missing:
            stale = frozenset(host.name for host in self.topology.hosts)
            return Observed(
                missing, recorded, limits, image=False, stale_files=stale, directory=self.directory.root.exists()
            )
        networks: dict[str, str] = {}
        for entry in self._labelled("network", "ls"):
            labels = entry.get("labels") or {}
            assert isinstance(labels, dict)
            networks[str(entry["name"])] = str(labels.get(LABEL_SPEC, ""))
        exists = machine.run(["podman", "image", "exists", image.image_name()], check=False).returncode == 0
        return Observed(
            missing_packages=missing,
            host_recorded=recorded,
            low_limits=limits,
            image=exists,
            networks=networks,
            containers=self.containers(),
            volumes=frozenset(str(entry["Name"]) for entry in self._labelled("volume", "ls")),
            stale_files=self._stale_files()
            if "openssh-client" not in missing
            else frozenset(host.name for host in self.topology.hosts),
            other_labs=self._other_labs(),
            directory=self.directory.root.exists(),
        )

    # -- acting -------------------------------------------------------------------------------------------------------------------------

    def create(self, check: bool = False) -> list[Action]:
        """Make the lab stand as the inventory says. :returns: what was (or in check mode would be) done."""
        if os.geteuid():
            raise LabError("The lab needs root: its machines are privileged containers with systemd in them")
        with self.directory.locked(self.say):
            sweep_after_reboot()
            actions = plan_create(self.topology, self.observe(), self._specs())
            if not check:
                for action in actions:
                    self.say(str(action))
                    self._apply(action)
                if actions:
                    self._forget_connections()
                self._write_shared()
        return actions

    def destroy(self, check: bool = False) -> list[Action]:
        with self.directory.locked(self.say):
            sweep_after_reboot()
            if machine.missing_packages(
                machine.run(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n"]).stdout, ["podman"]
            ):
                return []
            actions = plan_destroy(self.observe())
            if not check:
                self._forget_connections()
                for action in actions:
                    self.say(str(action))
                    self._apply(action)
        return actions

    def _host(self, name: str) -> Host:
        return next(host for host in self.topology.hosts if host.name == name)

    def _apply(self, action: Action) -> None:
        steps: dict[Kind, Callable[[str], object]] = {
            Kind.INSTALL_PACKAGES: lambda target: machine.install_packages(target.split()),
            Kind.RECORD_HOST: lambda _: machine.record_sysctls(self.directory.host_record),
            Kind.RAISE_LIMITS: lambda target: machine.write_sysctls(
                dict(pair.split("=", 1) for pair in target.split())
            ),
            Kind.BUILD_IMAGE: lambda _: image.build(self.directory.cache),
            Kind.WRITE_FILES: lambda target: self._write_files(target.split()),
            Kind.REMOVE_CONTAINER: lambda target: podman("rm", "--force", "--time", "0", target),
            Kind.REMOVE_VOLUME: lambda target: podman("volume", "rm", "--force", target),
            Kind.REMOVE_NETWORK: lambda target: podman("network", "rm", target),
            Kind.CREATE_NETWORK: self._create_network,
            Kind.CREATE_CONTAINER: lambda target: self._create_container(self._host(target)),
            Kind.START_CONTAINER: lambda target: self._start_container(self._host(target)),
            Kind.RESTART_CONTAINER: lambda target: self._start_container(self._host(target)),
            Kind.REFRESH: lambda target: podman(
                "exec", self._host(target).container, "systemctl", "restart", "lab-boot"
            ),
            Kind.RESTORE_HOST: lambda _: self._restore_host(),
            Kind.REMOVE_DIRECTORY: lambda _: shutil.rmtree(self.directory.root),
        }
        steps[action.kind](action.target)

    def _write_files(self, names: Iterable[str]) -> None:
        make_key(self.directory.key, f"lab {self.topology.name}")
        for host in map(self._host, names):
            make_key(self.directory.host(host) / "ssh_host_ed25519_key", host.name)
            for name, text in self._wanted_files(host).items():
                machine.write_atomically(self.directory.host(host) / name, text)

    def _write_shared(self) -> None:
        """known_hosts and state.json, written only when they differ."""
        keys = {
            host.name: public_key(self.directory.host(host) / "ssh_host_ed25519_key") for host in self.topology.hosts
        }
        state = {
            "name": self.topology.name,
            "image": image.image_name(),
            "segments": {
                segment.name: f"{segment.subnet} {segment.subnet6 or ''}".strip() for segment in self.topology.segments
            },
            "hosts": {host.name: str(host.address) for host in self.topology.hosts},
        }
        self.directory.sockets.mkdir(exist_ok=True, mode=0o700)
        texts = {
            self.directory.known_hosts: known_hosts(self.topology, keys),
            self.directory.state: json.dumps(state, indent=1) + "\n",
        }
        for path, text in texts.items():
            if read_text(path) != text:
                machine.write_atomically(path, text)

    def _create_network(self, name: str) -> None:
        segment = next(segment for segment in self.topology.segments if segment.name == name)
        try:
            podman("network", "create", *network_arguments(self.topology.name, segment))
        except LabError as error:
            raise LabError(
                f"{error}\nIf {segment.subnet} is in use here, choose another lab_network (-e lab_network=10.78.0.0/16)"
            ) from None

    def _create_container(self, host: Host) -> None:
        arguments = self._arguments(host)
        for path in host.volumes:
            name = volume_name(host, path)
            if machine.run(["podman", "volume", "exists", name], check=False).returncode:
                podman("volume", "create", "--label", f"{LABEL_LAB}={self.topology.name}", name)
        ulimits = [f"--ulimit={name}={value}:{value}" for name, value in machine.resource_limits().items()]
        spec = f"--label={LABEL_SPEC}={container_spec(arguments)}"
        machine.run(["podman", "--runtime", "runc", "run", "--detach", *ulimits, spec, *arguments])

    def _start_container(self, host: Host) -> None:
        """As one would bring a machine back: its power off and on."""
        power_off(host.container)
        try:
            podman("start", host.container)
        except LabError:
            if not podman("inspect", "--format", "{{.State.StartedAt}}", host.container).startswith(NEVER):
                raise
            # Cut off in its creation: it holds nothing, and what it was made with may be what stops it.
            podman("rm", "--force", host.container)
            self._create_container(host)

    def _restore_host(self) -> None:
        recorded = machine.recorded_sysctls(self.directory.host_record) or {}
        changed = machine.to_restore(recorded, machine.read_sysctls())
        for name, value in changed.items():
            self.say(f"  {name} = {value}")
        for name in machine.write_sysctls(changed):
            self.say(f"  {name} stays as it is until the next boot: the kernel lets nobody turn it back")
        self.directory.host_record.unlink(missing_ok=True)

    def _forget_connections(self) -> None:
        """End the controller's multiplexed ssh connections: they lead to machines that are gone or were restarted."""
        for socket in self.directory.sockets.glob("*") if self.directory.sockets.is_dir() else ():
            with contextlib.suppress(LabError):
                machine.run(["ssh", "-F", "none", "-S", str(socket), "-O", "exit", "lab"], timeout=5, check=False)
            socket.unlink(missing_ok=True)

    # -- proof --------------------------------------------------------------------------------------------------------------------------

    def ssh(self, host: Host, command: str, timeout: float = 20) -> tuple[int, str]:
        """Like Ansible's connection, without its multiplexing.

        :returns: exit status and output; on failure with what was said on stderr.
        """
        options = {
            "UserKnownHostsFile": self.directory.known_hosts,
            "GlobalKnownHostsFile": "/dev/null",
            "StrictHostKeyChecking": "yes",
            "HostKeyAlgorithms": "ssh-ed25519",
            "IdentitiesOnly": "yes",
            "BatchMode": "yes",
            "ConnectTimeout": "3",
        }
        flags = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
        argv = ["ssh", "-F", "none", "-i", str(self.directory.key), *flags, f"root@{host.address}", command]
        try:
            done = machine.run(argv, timeout=timeout, check=False)
        except LabError as error:
            return -1, str(error)
        return done.returncode, done.stdout + (done.stderr if done.returncode else "")

    def _targets(self, host: Host) -> list[str]:
        """What a machine must reach: its routers, and one machine of every other segment."""
        firsts = {
            other.legs[0].segment.name: other.legs[0] for other in reversed(self.topology.hosts) if not other.router
        }
        firsts.pop(host.legs[0].segment.name, None)
        first = [*self.topology.gateways(host), *(leg.address for leg in firsts.values())]
        second = [*self.topology.gateways6(host), *(leg.address6 for leg in firsts.values() if leg.address6)]
        return [str(address) for address in (*first, *second)]

    def _problem(self, host: Host) -> str:
        """Why a machine is not ready; nothing if it is."""
        pings = " && ".join(
            f"ping -c1 -W1 -q {target} >/dev/null || {{ echo no answer from {target}; exit 1; }}"
            for target in self._targets(host)
        )
        command = "state=$(systemctl is-system-running --wait); [ $state = running ] || [ $state = degraded ] || { echo systemd is $state; exit 1; }"
        if host.router:
            command += "; vtysh -c 'show bgp summary json'"
        code, text = self.ssh(host, f"{command}; {pings}" if pings else command)
        if code:
            return text.strip().splitlines()[-1] if text.strip() else f"ssh ends with {code}"
        if not host.router:
            return ""
        expected = set(host.uplinks)
        up = {session.peer for session in parse_sessions(text) if session.established}
        return f"BGP to {', '.join(sorted(expected - up))} is not established" if expected - up else ""

    def prove(self) -> dict[str, str]:
        """Wait until every machine is booted, reached by ssh, and reaches the other segments; until the routers speak BGP.

        :returns: `{host: problem}` of those that are not within BOOT_SECONDS.
        """
        problems: dict[str, str] = {host.name: "not asked yet" for host in self.topology.hosts}
        deadline = time.monotonic() + BOOT_SECONDS
        with ThreadPoolExecutor(WORKERS) as pool:
            while True:
                open_hosts: Iterable[Host] = [host for host in self.topology.hosts if host.name in problems]
                answers = pool.map(self._problem, open_hosts)
                problems = {host.name: problem for host, problem in zip(open_hosts, answers, strict=True) if problem}
                if not problems:
                    return {}
                if time.monotonic() > deadline:
                    states = {name: found.state for name, found in self.containers().items()}
                    off = {host.name: states.get(host.container, "missing") for host in open_hosts}
                    return {
                        name: text if off[name] == "running" else f"it is {off[name]}"
                        for name, text in problems.items()
                    }
                time.sleep(1)

    def fetch_kubeconfig(self, control_planes: Iterable[str], check: bool = False) -> bool:
        """The admin kubeconfig of any control plane that has one, with that machine as its server. :returns: whether it changed."""
        answers = []
        for host in (host for host in self.topology.hosts if host.name in control_planes):
            code, text = self.ssh(host, "cat /etc/kubernetes/admin.conf")
            if code == 0:
                wanted = with_server(text, f"https://{host.address}:6443")
                if read_text(self.directory.kubeconfig) == wanted:
                    return False
                answers.append(wanted)
        if not answers:
            raise LabError("No control plane of the lab has /etc/kubernetes/admin.conf: deploy the cluster first")
        if not check:
            machine.write_atomically(self.directory.kubeconfig, answers[0])
        return True
