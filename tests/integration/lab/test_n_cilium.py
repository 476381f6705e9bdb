"""Cilium on a small lab of its own: one control plane and two workers in two racks, no kube-proxy, BGP with both racks' routers, LoadBalancer addresses
from Cilium. Then kube-proxy comes and goes while Services are asked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest

from . import own_lab, runner
from .own_lab import becomes, standing, write_inventory
from .traffic import Felt, steady

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.own_lab, pytest.mark.network]

NAME, OCTETS = "labcil", "10.79"
NODES = {"plane1": {"rack1": 11}, "node1": {"rack1": 31}, "node2": {"rack2": 31}}


def uplinks(rack: str, *addresses: str) -> list[dict[str, str]]:
    """A router's sessions with the other one, over the spine and the edge."""
    number = f"{{{{ lab_segments.{rack}.router_as_number }}}}"
    return [{"address": address, "as_number": number, "description": f"{rack} over {address}"} for address in addresses]


GROUPS = {
    "lab": {
        "children": {
            "lab_nodes": {
                "children": {
                    "control_plane": {"hosts": {"plane1": {"lab_legs": NODES["plane1"]}}},
                    "etcd": {"children": {"control_plane": None}},
                    "workers": {"hosts": {name: {"lab_legs": NODES[name]} for name in ("node1", "node2")}},
                }
            },
            "bundle_server": {"hosts": {"store1": {"lab_legs": {"edge": 20}}}},
            "routers": {
                "hosts": {
                    "gate1": {
                        "lab_legs": {"rack1": 254, "spine": 2, "edge": 251},
                        "tor_config_uplinks": uplinks("rack2", f"{OCTETS}.0.3", f"{OCTETS}.3.252"),
                    },
                    "gate2": {
                        "lab_legs": {"rack2": 254, "spine": 3, "edge": 252},
                        "tor_config_uplinks": uplinks("rack1", f"{OCTETS}.0.2", f"{OCTETS}.3.251"),
                    },
                }
            },
            "outside": {"hosts": {"visitor": {"lab_legs": {"edge": 10}}}},
        }
    }
}
CHOICES = {
    "lab_name": NAME,
    "lab_network": f"{OCTETS}.0.0/16",
    "cluster_network_plugin": "cilium",
    "cluster_kube_proxy_mode": "none",
    "cluster_load_balancer_mode": "cilium_bgp",
    "cluster_cilium_hubble": True,
    # Cilium's programs see packets before the nodes' firewall does, kube-proxy's rules after it.
    "cluster_firewall_node_port_cidrs": ["0.0.0.0/0"],
    # The second line, as in the shipped lab: containers on a kernel with hybrid cgroups.
    "cluster_cilium_values": {
        "cgroup": {"autoMount": {"enabled": False}, "hostRoot": "/sys/fs/cgroup/unified"},
        "securityContext": {"privileged": True},
    },
}
KUBECTL = "kubectl --kubeconfig /etc/kubernetes/admin.conf"
# A client and a server of our own image; the server lets nobody in but pods with the label.
WORKLOAD = """
apiVersion: v1
kind: Namespace
metadata: {{name: trial}}
---
apiVersion: v1
kind: Pod
metadata: {{name: server, namespace: trial, labels: {{app: server}}}}
spec:
  nodeName: node2
  containers: [{{name: server, image: {image}, ports: [{{containerPort: 8080}}]}}]
---
apiVersion: v1
kind: Pod
metadata: {{name: friend, namespace: trial, labels: {{friend: "yes"}}}}
spec:
  nodeName: node1
  containers: [{{name: client, image: {image}}}]
---
apiVersion: v1
kind: Pod
metadata: {{name: stranger, namespace: trial}}
spec:
  nodeName: node1
  containers: [{{name: client, image: {image}}}]
---
apiVersion: v1
kind: Service
metadata: {{name: server, namespace: trial}}
spec:
  type: NodePort
  selector: {{app: server}}
  ports: [{{port: 80, targetPort: 8080}}]
"""
POLICY = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: friends, namespace: trial}
spec:
  podSelector: {matchLabels: {app: server}}
  policyTypes: [Ingress]
  ingress: [{from: [{podSelector: {matchLabels: {friend: "yes"}}}]}]
"""


on = partial(own_lab.on, NAME)


def kubectl(words: str, check: bool = True) -> str:
    return on("plane1", f"{KUBECTL} {words}", check)


def apply(text: str) -> None:
    on("plane1", f"{KUBECTL} apply -f -", stdin=text)


def reached(pod: str, target: str) -> bool:
    """Does the echo server of a pod get an answer from a URL?"""
    told = kubectl(f"-n trial exec {pod} -- /echo-server probe --timeout 3s {target}", check=False)
    return bool(json.loads(told or "[]")[0]["ok"]) if told.strip().startswith("[") else False


@pytest.fixture(scope="module")
def inventory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped lab's connection and its allowances for containers, with the choices above."""
    return write_inventory(tmp_path_factory.mktemp("inventory"), GROUPS, CHOICES)


@pytest.fixture(scope="module")
def cluster(inventory: Path) -> Iterator[runner.Run]:
    """The first run, on machines that are made for it and taken away again."""
    with standing(inventory):
        yield runner.play("site", inventory=inventory, seconds=2400)


@pytest.fixture(scope="module")
def workload(cluster: runner.Run) -> str:
    """The pods of the trial; returns the server's address."""
    image = kubectl("-n bare-metal-system get daemonset probe -o jsonpath={.spec.template.spec.containers[0].image}")
    apply(WORKLOAD.format(image=image))
    kubectl("-n trial wait --for=condition=Ready pod --all --timeout=120s")
    return kubectl("-n trial get pod server -o jsonpath={.status.podIP}")


def test_the_first_run_makes_a_whole_cluster_without_kube_proxy(cluster: runner.Run) -> None:
    assert cluster.rc == 0, cluster.output
    assert ", 0 failed" in cluster.output
    assert "kube-proxy" not in kubectl("-n kube-system get daemonset -o name")
    for name in NODES:
        assert "KUBE-SERVICES" not in on(name, "iptables-save 2>/dev/null; nft list ruleset 2>/dev/null", check=False)
    # Nothing of a change between the two is counted where there is none.
    assert not [name for name in cluster.tasks if "Kube proxy" in name]
    assert "calico" not in kubectl("get pods -A -o name") + kubectl("get crd -o name")


@pytest.mark.parametrize(
    "check", ["bgp node", "bgp router", "pod routes", "pod to pod", "dns", "cluster ip", "load balancer"]
)
def test_verify_has_the_same_rows_as_with_calico(cluster: runner.Run, check: str) -> None:
    rows = re.findall(rf"^{check} +(\S.*?) +(ok|FAILED|skipped)", cluster.output, re.MULTILINE)
    assert rows
    assert {result for _subject, result in rows} == {"ok"}


def test_tasks_stay_within_the_budget(cluster: runner.Run) -> None:
    assert cluster.task_count("plane1") <= 40
    assert max(cluster.task_count(name) for name in ("node1", "node2")) <= 20


def test_routers_know_each_node_range(cluster: runner.Run) -> None:
    nodes = json.loads(kubectl("get ciliumnodes -o json"))["items"]
    ranges = {node["metadata"]["name"]: node["spec"]["ipam"]["podCIDRs"][0] for node in nodes}
    assert set(ranges) == set(NODES)
    assert {cidr.partition("/")[2] for cidr in ranges.values()} == {"24"}
    for router in ("gate1", "gate2"):
        table = on(router, "ip route")
        assert all(cidr in table for cidr in ranges.values()), table


def test_the_agent_has_the_sizes_that_the_density_asks_for(cluster: runner.Run) -> None:
    config = json.loads(kubectl("-n kube-system get configmap cilium-config -o json"))["data"]
    assert config["bpf-ct-global-tcp-max"] == "262144"
    assert config["api-rate-limit"].startswith("endpoint-create=rate-limit:2/s")
    assert config["enable-hubble"] == "true"
    pod = kubectl("-n kube-system get pod -l k8s-app=cilium --field-selector spec.nodeName=node1 -o name").strip()
    told = kubectl(f"-n kube-system exec {pod} -c cilium-agent -- cilium-dbg status --verbose")
    assert re.search(r"KubeProxyReplacement: +True", told), told
    assert "TCP connection tracking       262144" in told, told
    assert re.search(r"Hubble: +Ok", told), told


def test_the_second_run_changes_nothing(cluster: runner.Run, inventory: Path) -> None:
    second = runner.play("site", inventory=inventory)
    assert second.rc == 0, second.output
    assert second.changed() == {}


def test_a_preview_says_that_nothing_would_change(cluster: runner.Run, inventory: Path) -> None:
    preview = runner.play("site", "--check", "--diff", inventory=inventory)
    assert preview.rc == 0, preview.output
    assert preview.changed() == {}


def test_a_policy_is_enforced(workload: str) -> None:
    url = f"http://{workload}:8080/healthz"
    assert becomes(lambda: reached("stranger", url) and reached("friend", url))
    apply(POLICY)
    assert becomes(lambda: not reached("stranger", url))
    assert reached("friend", url)
    kubectl("-n trial delete networkpolicy friends")
    assert becomes(lambda: reached("stranger", url))


def test_policies_from_a_description_are_applied_and_proven(workload: str, inventory: Path, tmp_path: Path) -> None:
    """The same playbook as under Calico; the API's address is a node's, which Cilium takes no address for unless it is told to."""
    report = tmp_path / "policies.json"
    flows = [
        {"from": {"pods": {"friend": "yes"}}, "to": {"pods": {"app": "server"}}, "ports": [8080]},
        {"from": {"pods": {"friend": "yes"}}, "to": {"api": True}},
    ]
    described = json.dumps({"cluster_network_policies": {"trial": {"flows": flows}}})
    words = ["-e", described, "-e", f"network_policies_report_path={report}"]
    applied = runner.play("network_policies", *words, inventory=inventory)
    assert applied.rc == 0, applied.output
    told = json.loads(report.read_text())
    assert told["untested"] == []
    assert {entry["outcome"] for entry in told["tried"] if not entry["must_pass"]} == {"dropped"}
    assert sum(entry["must_pass"] for entry in told["tried"]) >= 2
    url = f"http://{workload}:8080/healthz"
    assert reached("friend", url)
    assert not reached("stranger", url)
    assert runner.play("network_policies", *words, inventory=inventory).changed() == {}
    assert runner.play("network_policies", inventory=inventory).rc == 0
    assert becomes(lambda: reached("stranger", url))


def test_a_node_port_answers_on_every_node(workload: str) -> None:
    port = kubectl("-n trial get service server -o jsonpath={.spec.ports[0].nodePort}")
    for legs in NODES.values():
        ((rack, number),) = legs.items()
        address = f"{OCTETS}.{rack.removeprefix('rack')}.{number}"
        ask = f"curl -s -m 3 -o /dev/null -w '%{{http_code}}' http://{address}:{port}/healthz"
        assert becomes(lambda ask=ask: "200" in on("visitor", ask, check=False)), address  # type: ignore[misc]


def test_a_service_without_kube_proxy_answers_by_its_name(workload: str) -> None:
    assert becomes(lambda: reached("stranger", "http://server.trial.svc.cluster.local/healthz"))


def test_another_plugin_is_refused_on_a_live_cluster(cluster: runner.Run, inventory: Path) -> None:
    calico = {
        "cluster_network_plugin": "calico",
        "cluster_kube_proxy_mode": "nftables",
        "cluster_load_balancer_mode": "calico_bgp",
    }
    refused = runner.play("preflight", "-e", json.dumps(calico), inventory=inventory)
    assert refused.rc != 0
    assert refused.changed() == {}
    assert "a live node with cilium" in " ".join(refused.output.split()), refused.output


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ("cluster_pods_per_node=200", "nodes are to have ranges of /23"),
        ("cluster_encapsulation=vxlan", "a live node under Cilium with none"),
    ],
)
def test_what_a_live_cluster_cannot_change_is_refused(
    cluster: runner.Run, inventory: Path, choice: str, words: str
) -> None:
    refused = runner.play("preflight", "-e", choice, inventory=inventory)
    assert refused.rc != 0
    assert refused.changed() == {}
    assert words in " ".join(refused.output.split()), refused.output


# --- kube-proxy comes and goes on the live cluster

#: seconds without an answer that a client of a Service may feel while a node's agent is replaced
LONGEST_GAP = 5.0
KUBE_PROXY_RULES = r"KUBE-(SERVICES|NODEPORTS|FORWARD|PROXY|POSTROUTING|MARK-MASQ|SVC-|SEP-|EXT-)|table ip6? kube-proxy"


def carriers() -> dict[str, tuple[str, bool]]:
    """``{node: (what its agent says of kube-proxy's replacement, does anything of kube-proxy's stand in its kernel)}``."""
    found = {}
    for name in NODES:
        pod = kubectl(f"-n kube-system get pod -l k8s-app=cilium --field-selector spec.nodeName={name} -o name").strip()
        told = kubectl(f"-n kube-system exec {pod} -c cilium-agent -- cilium-dbg status")
        replaced = re.search(r"KubeProxyReplacement: +(\w+)", told)
        assert replaced, told
        rules = on(name, "iptables-save; ip6tables-save; nft list tables")
        found[name] = (replaced[1], re.search(KUBE_PROXY_RULES, rules) is not None)
    return found


def process_of(node: str, pod: str) -> int:
    """Number of a process of a pod, on its node."""
    told = json.loads(on(node, f"crictl inspect $(crictl ps -q --label io.kubernetes.pod.name={pod} | head -1)"))
    return int(told["info"]["pid"])


@contextmanager
def clients() -> Iterator[list[Felt]]:
    """Steady requests: from a node and from a pod to a ClusterIP, from outside to a LoadBalancer address and to a node's port."""
    inside = kubectl("-n bare-metal-system get service probe -o jsonpath={.spec.clusterIP}")
    public = kubectl("-n bare-metal-system get service probe-public -o jsonpath={.status.loadBalancer.ingress[0].ip}")
    port = kubectl("-n trial get service server -o jsonpath={.spec.ports[0].nodePort}")
    sources = (
        ("node1", f"http://{inside}/", 0),
        ("node2", f"http://{inside}/", process_of("node2", "server")),
        ("visitor", f"http://{public}/", 0),
        ("visitor", f"http://{OCTETS}.1.31:{port}/healthz", 0),
    )
    with ExitStack() as stack:
        yield [stack.enter_context(steady(f"{NAME}-{host}", url, pod=pod)) for host, url, pod in sources]


def switched(inventory: Path, mode: str, killed_at: str = "") -> None:
    """A run of ``site`` with another mode, under traffic; it can be killed at a task first and is run again then."""
    choice = ("-e", f"cluster_kube_proxy_mode={mode}")
    with clients() as felt:
        if killed_at:
            killed = runner.play("site", *choice, inventory=inventory, kill_at_task=killed_at)
            assert killed_at in killed.tasks[-1], killed.output
        run = runner.play("site", *choice, inventory=inventory)
    for client in felt:
        print(f"to {mode}{', killed and run again' if killed_at else ''}: {client}")
    assert run.rc == 0, run.output
    for client in felt:
        assert client.asked > 100
        assert client.longest_gap < LONGEST_GAP, str(client)


BESIDE, INSTEAD = dict.fromkeys(NODES, ("False", True)), dict.fromkeys(NODES, ("True", False))


def test_kube_proxy_comes_back_and_goes_under_traffic(workload: str, inventory: Path) -> None:
    """There and back in both modes; once each the run is killed in the middle of the change."""
    assert carriers() == INSTEAD
    switched(inventory, "iptables", "Apply Cilium's objects")
    assert carriers() == BESIDE
    assert runner.play("site", "-e", "cluster_kube_proxy_mode=iptables", inventory=inventory).changed() == {}

    switched(inventory, "none", "Take kube-proxy's rules off this node")
    assert carriers() == INSTEAD
    assert "/kube-proxy" not in kubectl("-n kube-system get daemonset,configmap,serviceaccount -o name")

    switched(inventory, "nftables")
    assert carriers() == BESIDE
    switched(inventory, "none")
    assert carriers() == INSTEAD
    assert runner.play("site", inventory=inventory).changed() == {}


def test_encapsulation_changes_in_a_window(workload: str, inventory: Path) -> None:
    """Waived, for pods of different nodes are cut off from each other meanwhile; afterwards everything is as proven as before."""
    waiver = {"live_encapsulation": "a maintenance window"}
    words = ("-e", json.dumps({"cluster_encapsulation": "vxlan", "os_prep_waivers": waiver}))
    with steady(f"{NAME}-node1", f"http://{workload}:8080/healthz", pod=process_of("node1", "friend")) as felt:
        run = runner.play("site", *words, inventory=inventory)
    print(f"to VXLAN: {felt}")
    assert run.rc == 0, run.output
    assert felt.lost < felt.asked
    for name in NODES:
        assert "vxlan" in on(name, "ip -d link show cilium_vxlan")
    friend = f"http://{workload}:8080/healthz"
    assert becomes(lambda: reached("friend", friend))
    assert runner.play("site", *words, inventory=inventory).changed() == {}
