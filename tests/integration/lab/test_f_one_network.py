"""The other choices, on a small second lab: three servers in one network that are everything in one (as `inventories/minimal`), a VRRP address for
the API, the bundle pushed by the controller, LoadBalancer addresses announced by ARP.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from . import own_lab, runner
from .own_lab import podman, standing, write_inventory

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.own_lab]

NAME, OCTETS = "labone", "10.242"
ADDRESS, PORT = f"{OCTETS}.1.100", 8443
SERVERS = {"server1": 11, "server2": 12, "server3": 13}
GROUPS = {
    "lab": {
        "children": {
            "lab_nodes": {
                "children": {
                    "control_plane": {"hosts": {name: {"lab_legs": {"rack1": n}} for name, n in SERVERS.items()}},
                    "etcd": {"children": {"control_plane": None}},
                    "workers": None,
                }
            },
            "routers": {"hosts": {"gateway": {"lab_legs": {"rack1": 254, "edge": 251}}}},
            "outside": {"hosts": {"client": {"lab_legs": {"edge": 10}}}},
        }
    }
}
CHOICES = {
    "lab_name": NAME,
    "lab_network": f"{OCTETS}.0.0/16",
    "cluster_bundle_registry": "",
    "cluster_node_taints": [],
    "cluster_api_endpoint_mode": "keepalived",
    "cluster_api_endpoint_address": ADDRESS,
    "cluster_api_endpoint_port": PORT,
    "cluster_load_balancer_mode": "metallb_l2",
    "cluster_load_balancer_pools": [{"name": "default", "addresses": [f"{OCTETS}.1.200-{OCTETS}.1.220"]}],
    "cluster_kube_proxy_mode": "iptables",
}
KUBECTL = f"kubectl --kubeconfig /etc/kubernetes/admin.conf --server https://{ADDRESS}:{PORT}"


@pytest.fixture(scope="module")
def inventory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped lab's connection and its allowances for containers, with the choices above."""
    return write_inventory(tmp_path_factory.mktemp("inventory"), GROUPS, CHOICES, racks=False)


on = partial(own_lab.on, NAME)


@pytest.fixture(scope="module")
def machines(inventory: Path) -> Callable[[str], None]:
    """A function that runs one of the lab's own playbooks."""
    return partial(own_lab.machines, inventory)


@pytest.fixture(scope="module")
def bare(inventory: Path) -> Iterator[None]:
    """The machines without a cluster."""
    with standing(inventory):
        FOUND.update({name: state_of(name) for name in SERVERS})
        yield


@pytest.fixture(scope="module")
def cluster(inventory: Path, bare: None) -> runner.Run:
    """The first run."""
    return runner.play("site", inventory=inventory)


# Each server as it was before the first run.
FOUND: dict[str, dict[str, str]] = {}
# The user etcd stays, as packages do, and these name it; the last one keepalived writes for `ip` when it starts.
STAYS = re.compile(r"/etc/((passwd|group|shadow|gshadow|subuid|subgid)-?|iproute2/rt_addrprotos\.d/keepalived\.conf)$")

PARAMETERS = r"net\.ipv4\.(ip_forward|conf\.(all|default|eth0))|net\.core|vm\.(max|over|panic)|fs\.inotify|kernel\.(pid_max|panic)"


def state_of(server: str) -> dict[str, str]:
    """Files with their sums, links, interfaces, routes, rules, mounts, units and kernel parameters: what reset has to give back."""
    files = on(
        server,
        "find /etc /usr/local /opt /root -xdev -type f -exec sha256sum {} +; find /etc -xdev -type l -printf '%l  %p\\n'",
    )
    found = {line.split("  ", 1)[1]: line.split("  ", 1)[0] for line in files.splitlines()}
    lists = {
        "interfaces": "ip -brief link | awk '{print $1}'",
        "routes": "ip route",
        "nftables": "nft list ruleset",
        # Calico mounts bpffs where systemd has not done so at boot, as on every machine that is no container.
        "mounts": "awk '{print $2, $3}' /proc/mounts | grep -v '^/sys/fs/bpf ' | sort",
        "units": "systemctl list-units --state=active,failed --type=service --plain --no-legend | awk '{print $1}' | grep -v ssh",
        "parameters": f"sysctl -a 2>/dev/null | grep -E '^({PARAMETERS})'",
    }
    return {path: digest for path, digest in found.items() if not STAYS.match(path)} | {
        name: on(server, command) for name, command in lists.items()
    }


def differences(server: str) -> Iterator[str]:
    """What is not as it was, in the form of a diff."""
    before, after = FOUND[server], state_of(server)
    for key in sorted(before | after):
        lines = (before.get(key, "").splitlines(), after.get(key, "").splitlines())
        yield from difflib.unified_diff(*lines, f"{server} before: {key}", f"{server} after: {key}", lineterm="", n=0)


def holders() -> list[str]:
    """Servers that have the API's address."""
    return [name for name in SERVERS if f"inet {ADDRESS}/" in on(name, "ip -4 address show", check=False)]


def wait_for(what: Callable[[], bool], tries: int = 60) -> bool:
    for _try in range(tries):
        if what():
            return True
        time.sleep(1)
    return False


@contextmanager
def slow_disk(server: str, writes_a_second: int) -> Iterator[None]:
    """The kernel lets this server's processes write so often to the machine's disks, and no more (blkio, cgroup v1)."""
    path = podman("inspect", "-f", "{{.State.CgroupPath}}", f"{NAME}-{server}").strip().lstrip("/")
    device = os.stat(podman("info", "-f", "{{.Store.VolumePath}}").strip()).st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    groups = list((Path("/sys/fs/cgroup/blkio") / path).rglob("blkio.throttle.write_iops_device"))
    assert groups, f"no blkio cgroup {path}"
    try:
        for file in groups:
            file.write_text(f"{number} {writes_a_second}\n")
        yield
    finally:
        for file in groups:
            file.write_text(f"{number} 0\n")


def test_a_slow_disk_is_named_and_refused_until_it_is_fast(bare: None, inventory: Path, tmp_path: Path) -> None:
    with slow_disk("server2", 60):
        measured = runner.play("qualify_disks", "-e", "disk_qualification_profile=quick", inventory=inventory)
    assert measured.rc != 0
    assert re.search(r"server2 .*fail", measured.output), measured.output
    report = tmp_path / "preflight.json"
    refused = runner.play("site", "-e", f"os_prep_report_path={report}", inventory=inventory)
    assert refused.rc != 0
    assert refused.changed() == {}
    errors = [entry for entry in json.loads(report.read_text())["findings"] if entry["level"] == "error"]
    assert [(entry["check"], entry["hosts"]) for entry in errors] == [("disk_qualification", ["server2"])]
    again = runner.play("qualify_disks", "-e", "disk_qualification_profile=quick", inventory=inventory)
    assert again.rc == 0, again.output
    assert runner.play("preflight", inventory=inventory).rc == 0


def test_the_first_run_makes_a_whole_cluster(cluster: runner.Run) -> None:
    assert cluster.rc == 0, cluster.output
    assert ", 0 failed" in cluster.output
    assert re.search(rf"load balancer +{OCTETS}\.1\.2\d\d of default from client +ok", cluster.output), cluster.output
    assert re.search(r"announced by +default +ok +server\d on eth0", cluster.output), cluster.output


def test_one_server_has_the_address_and_clients_use_it(cluster: runner.Run) -> None:
    """The components of a control plane ask their own apiserver (kubeadm); people, kube-proxy and who joins ask the address."""
    assert len(holders()) == 1
    for name in SERVERS:
        assert f"https://{ADDRESS}:{PORT}" in on(name, "cat /etc/kubernetes/admin.conf")
    for namespace, configmap in (("kube-system", "kube-proxy"), ("kube-public", "cluster-info")):
        assert f"https://{ADDRESS}:{PORT}" in on(
            "server1", f"{KUBECTL} -n {namespace} get configmap {configmap} -o yaml"
        )


def test_the_administrator_gets_a_kubeconfig_that_only_he_can_read(cluster: runner.Run, inventory: Path) -> None:
    kubeconfig = inventory / "admin.conf"
    assert kubeconfig.stat().st_mode & 0o777 == 0o600
    assert f"https://{ADDRESS}:{PORT}" in kubeconfig.read_text()


def test_a_silent_stream_is_not_cut_and_the_second_run_changes_nothing(cluster: runner.Run, inventory: Path) -> None:
    """A watch on objects that do not change, through the address, as long as a run without changes takes (longer than a proxy's usual minute)."""
    client = next(name for name in SERVERS if name not in holders())
    watch = subprocess.Popen(
        ["podman", "exec", f"{NAME}-{client}", "sh", "-c", f"timeout 90 {KUBECTL} get namespaces -w; echo ended $?"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    second = runner.play("site", inventory=inventory)
    assert second.rc == 0, second.output
    assert second.changed() == {}
    told = watch.communicate(timeout=120)[0]
    assert "ended 124" in told, told


def test_the_address_moves_when_its_server_is_lost_and_stays_when_it_returns(
    cluster: runner.Run, machines: Callable[[str], None]
) -> None:
    (lost,) = holders()
    others = [name for name in SERVERS if name != lost]
    podman("stop", "-t", "0", f"{NAME}-{lost}")
    try:
        assert wait_for(lambda: any(f"inet {ADDRESS}/" in on(name, "ip -4 address show") for name in others))
        for name in others:
            ask = f"{KUBECTL} get --raw=/readyz --request-timeout=5s"
            assert wait_for(lambda name=name, ask=ask: on(name, ask, check=False) == "ok")  # type: ignore[misc]
    finally:
        machines("create")
    assert wait_for(lambda: len(holders()) == 1)
    assert holders() != [lost]


def test_the_address_leaves_a_server_whose_api_is_not_ready_anywhere(cluster: runner.Run) -> None:
    """HAProxy on a server sends to every apiserver, so its own may be away; without its HAProxy the address has to go."""
    (holder,) = holders()
    on(holder, "systemctl stop haproxy")
    try:
        assert wait_for(lambda: holders() not in ([holder], []))
    finally:
        on(holder, "systemctl start haproxy")


def test_verify_sees_it_whole_again(cluster: runner.Run, inventory: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"

    def whole() -> bool:
        runner.play("verify", "-e", f"verification_report_path={report}", inventory=inventory)
        return not [row for row in json.loads(report.read_text())["rows"] if row["result"] == "failed"]

    assert wait_for(whole, 20), report.read_text()


def test_reset_leaves_each_server_as_it_was(cluster: runner.Run, inventory: Path) -> None:
    for confirmed in ("", "another"):
        refused = runner.play("reset", "-e", f"reset_confirm={confirmed}", inventory=inventory)
        assert refused.rc != 0
        assert refused.changed() == {}
    assert runner.play("reset", "-e", f"reset_confirm={NAME}", inventory=inventory).rc == 0
    left = [line for name in SERVERS for line in differences(name)]
    assert not left, "\n".join(left)
    assert runner.play("reset", "-e", f"reset_confirm={NAME}", inventory=inventory).changed() == {}
