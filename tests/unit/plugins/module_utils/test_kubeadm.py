"""What is left to do after kubeadm was stopped anywhere; documents, manifests and kubeconfigs as kubeadm writes them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _kubeadm as core

RECORDED = Path(__file__).parent / "recorded"
APISERVER = (RECORDED / "kube-apiserver.yaml").read_text()
DOCUMENTS: list[dict[str, Any]] = [
    {
        "kind": "InitConfiguration",
        "nodeRegistration": {"name": "CP1"},
        "localAPIEndpoint": {"advertiseAddress": "10.77.1.11", "bindPort": 6443},
    },
    {
        "kind": "ClusterConfiguration",
        "controlPlaneEndpoint": "127.0.0.1:7443",
        "networking": {"serviceSubnet": "10.96.0.0/16,fd00:1::/108", "dnsDomain": "cluster.local"},
        "apiServer": {"certSANs": ["api.example.com", "fd00:0::1"]},
    },
]
WHOLE = core.NodeState(
    manifests=frozenset(core.COMPONENTS),
    kubeconfigs=frozenset(core.INIT_KUBECONFIGS),
    leaves=frozenset(core.LEAVES),
    traces=True,
    kubelet_settings=True,
    kubelet_active=True,
    kubelet_rotates=True,
    ready=True,
    registered=True,
    marked=True,
)
EVERY_OBJECT_PHASE = ["upload-config", "mark-control-plane", "bootstrap-token", "addon/coredns", "addon/kube-proxy"]


def state(**changes: Any) -> core.NodeState:
    return dataclasses.replace(WHOLE, **changes)


INIT: list[tuple[str, core.NodeState, dict[str, list[str]] | None, list[str]]] = [
    ("whole", WHOLE, {}, []),
    (
        "nothing yet",
        core.NodeState(),
        None,
        [
            "preflight",
            "certs",
            "kubeconfig",
            "control-plane",
            "kubelet-start",
            "wait-control-plane",
            "upload-config",
            "mark-control-plane",
            "bootstrap-token",
            "kubelet-finalize",
            "addon/coredns",
            "addon/kube-proxy",
        ],
    ),
    (
        "killed in certs",
        core.NodeState(traces=True, leaves=frozenset({"apiserver"})),
        None,
        [
            "certs",
            "kubeconfig",
            "control-plane",
            "kubelet-start",
            "wait-control-plane",
            "upload-config",
            "mark-control-plane",
            "bootstrap-token",
            "kubelet-finalize",
            "addon/coredns",
            "addon/kube-proxy",
        ],
    ),
    (
        "killed between two manifests",
        state(
            manifests=frozenset({"kube-apiserver"}),
            kubelet_settings=False,
            kubelet_active=False,
            kubelet_rotates=False,
            ready=False,
            registered=None,
            marked=None,
        ),
        None,
        [
            "control-plane",
            "kubelet-start",
            "wait-control-plane",
            *EVERY_OBJECT_PHASE[:3],
            "kubelet-finalize",
            *EVERY_OBJECT_PHASE[3:],
        ],
    ),
    (
        "killed while waiting: the kubelet runs, the API is not ready",
        state(ready=False, registered=None, marked=None, kubelet_rotates=False),
        None,
        ["control-plane", "wait-control-plane", *EVERY_OBJECT_PHASE[:3], "kubelet-finalize", *EVERY_OBJECT_PHASE[3:]],
    ),
    (
        "killed before the admin had rights",
        state(marked=None, kubelet_rotates=False),
        None,
        [*EVERY_OBJECT_PHASE[:3], "kubelet-finalize", *EVERY_OBJECT_PHASE[3:]],
    ),
    (
        "killed after the kubeadm ConfigMap",
        state(marked=False),
        {
            "upload-config": ["ConfigMap kube-system/kubelet-config"],
            "bootstrap-token": ["ConfigMap kube-public/cluster-info"],
            "addon/coredns": ["x"],
            "addon/kube-proxy": ["x"],
        },
        EVERY_OBJECT_PHASE,
    ),
    ("killed before the add-ons", WHOLE, {"addon/coredns": ["Deployment kube-system/coredns"]}, ["addon/coredns"]),
    # kubeadm would refuse to make CoreDNS's part anew where the release is none that it knows.
    ("kube-proxy comes back", WHOLE, {"addon/kube-proxy": ["DaemonSet kube-system/kube-proxy"]}, ["addon/kube-proxy"]),
    (
        "killed before finalize",
        state(kubelet_rotates=False),
        {"addon/kube-proxy": ["DaemonSet kube-system/kube-proxy"]},
        ["kubelet-finalize", "addon/kube-proxy"],
    ),
    (
        "kubelet stopped",
        state(kubelet_active=False, ready=False, registered=None, marked=None),
        None,
        ["control-plane", "kubelet-start", "wait-control-plane", *EVERY_OBJECT_PHASE],
    ),
]


@pytest.mark.parametrize(("_name", "node", "missing", "phases"), INIT, ids=[row[0] for row in INIT])
def test_phases_left_of_init(
    _name: str, node: core.NodeState, missing: dict[str, list[str]] | None, phases: list[str]
) -> None:
    steps = core.plan_init(node, missing)
    assert core.phases_of(steps) == phases
    assert all(step.reason for step in steps)


MARK = ["control-plane-join", "wait-control-plane"]
PREPARE = ["control-plane-prepare", *MARK]
BOOTSTRAP = ["kubelet-start", "kubelet-wait-bootstrap"]
JOIN: list[tuple[str, bool, core.NodeState, list[str]]] = [
    ("whole control plane", True, WHOLE, []),
    (
        "new control plane",
        True,
        core.NodeState(),
        ["preflight", "control-plane-prepare", *BOOTSTRAP, "control-plane-join", "wait-control-plane"],
    ),
    (
        "certificates only",
        True,
        core.NodeState(traces=True, leaves=frozenset(core.LEAVES)),
        ["control-plane-prepare", *BOOTSTRAP, *MARK],
    ),
    (
        "manifests stand, the kubelet never bootstrapped",
        True,
        state(
            kubeconfigs=frozenset({"admin", "controller-manager", "scheduler"}),
            ready=False,
            registered=None,
            marked=None,
        ),
        ["control-plane-prepare", *BOOTSTRAP, *MARK],
    ),
    ("bootstrapped, not marked", True, state(marked=False), ["control-plane-join"]),
    ("one manifest is gone", True, state(manifests=frozenset(core.COMPONENTS[1:]), ready=False, marked=None), PREPARE),
    ("the apiserver is not ready", True, state(ready=False, registered=None, marked=None), PREPARE),
    ("a token was left", True, state(kubelet_token=True), [core.FORGET_TOKEN]),
    (
        "a token was left, the kubelet needs a new one",
        False,
        core.NodeState(traces=True, kubelet_token=True),
        BOOTSTRAP,
    ),
    ("the kubelet does not run", True, state(kubelet_active=False), [core.START_KUBELET]),
    (
        "whole worker",
        False,
        core.NodeState(
            traces=True, kubeconfigs=frozenset({"kubelet"}), kubelet_settings=True, kubelet_active=True, registered=True
        ),
        [],
    ),
    ("new worker", False, core.NodeState(), ["preflight", *BOOTSTRAP]),
    ("worker with a bootstrap kubeconfig", False, core.NodeState(traces=True), BOOTSTRAP),
    (
        "worker waiting for its certificate",
        False,
        core.NodeState(traces=True, kubelet_settings=True, kubelet_active=True),
        BOOTSTRAP,
    ),
    ("worker without settings", False, core.NodeState(traces=True, kubeconfigs=frozenset({"kubelet"})), BOOTSTRAP),
    (
        "worker whose kubelet is stopped",
        False,
        core.NodeState(traces=True, kubeconfigs=frozenset({"kubelet"}), kubelet_settings=True),
        [core.START_KUBELET],
    ),
    (
        "worker whose Node was deleted",
        False,
        core.NodeState(
            traces=True,
            kubeconfigs=frozenset({"kubelet"}),
            kubelet_settings=True,
            kubelet_active=True,
            registered=False,
        ),
        [core.RESTART_KUBELET],
    ),
    (
        "worker while the API is away",
        False,
        core.NodeState(
            traces=True, kubeconfigs=frozenset({"kubelet"}), kubelet_settings=True, kubelet_active=True, registered=None
        ),
        [],
    ),
]


@pytest.mark.parametrize(("_name", "control_plane", "node", "steps"), JOIN, ids=[row[0] for row in JOIN])
def test_steps_left_of_join(_name: str, control_plane: bool, node: core.NodeState, steps: list[str]) -> None:
    assert [step.name for step in core.plan_join(node, control_plane=control_plane)] == steps


def test_skipped_phases_are_the_others_and_never_our_own_steps() -> None:
    steps = core.plan_init(state(kubelet_rotates=False), {})
    assert core.skipped(steps, core.INIT_PHASES) == (
        "preflight,certs,kubeconfig,etcd,control-plane,kubelet-start,wait-control-plane,upload-config,upload-certs,"
        "mark-control-plane,bootstrap-token,addon/coredns,addon/kube-proxy,show-join-command"
    )
    assert core.phases_of([core.Step(core.START_KUBELET, ""), core.Step("preflight", "")]) == ["preflight"]


@pytest.mark.parametrize(
    ("document", "gone"),
    [
        ({}, set()),
        ({"proxy": {"disabled": True}}, {"kube-proxy"}),
        ({"dns": {"disabled": True}}, {"coredns", "kube-dns"}),
    ],
)
def test_disabled_addons_are_not_expected(document: dict[str, Any], gone: set[str]) -> None:
    found = core.expected_objects([{"kind": "ClusterConfiguration", **document}])
    both = ("addon/coredns", "addon/kube-proxy")
    assert {one.name for phase in both for one in set(core.OBJECTS[phase]) - set(found[phase])} == gone


def test_config_text_is_yaml_documents() -> None:
    assert list(yaml.safe_load_all(core.config_text(DOCUMENTS))) == DOCUMENTS


def test_token_is_put_into_a_copy() -> None:
    documents = [{"kind": "JoinConfiguration", "discovery": {"bootstrapToken": {"apiServerEndpoint": "a:1"}}}]
    [found] = core.with_token(documents, "abcdef.0123456789abcdef", "sha256:00")
    assert found["discovery"] == {
        "bootstrapToken": {
            "apiServerEndpoint": "a:1",
            "token": "abcdef.0123456789abcdef",
            "caCertHashes": ["sha256:00"],
        },
        "tlsBootstrapToken": "abcdef.0123456789abcdef",
    }
    assert "token" not in json.dumps(documents).replace("bootstrapToken", "")


def test_names_of_the_apiserver() -> None:
    assert core.wanted_sans(DOCUMENTS) == {
        "cp1",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "10.96.0.1",
        "10.77.1.11",
        "127.0.0.1",
        "api.example.com",
        "fd00::1",
    }


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("a:7443", ("a", 7443)),
        ("[fd00::1]:7443", ("fd00::1", 7443)),
        ("[fd00::1]", ("fd00::1", 6443)),
        ("10.0.0.1", ("10.0.0.1", 6443)),
    ],
)
def test_endpoint(endpoint: str, expected: tuple[str, int]) -> None:
    assert core.split_endpoint(endpoint) == expected


def test_recorded_manifest() -> None:
    pod = yaml.safe_load(APISERVER)
    assert list(core.manifest_command(APISERVER)) == pod["spec"]["containers"][0]["command"]
    assert core.manifest_environment(APISERVER) == {"BARE_METAL_KUBERNETES_AUDIT_POLICY": "0123abcd"}
    assert core.flag_of(core.manifest_command(APISERVER), "secure-port") == "6443"
    assert core.manifest_environment((RECORDED / "kube-scheduler.yaml").read_text()) == {}


def test_a_manifest_that_was_cut_off_anywhere_is_not_whole() -> None:
    assert core.manifest_whole(APISERVER)
    for length in range(0, len(APISERVER) - 1, 97):
        assert not core.manifest_whole(APISERVER[:length])
    assert not core.manifest_whole(APISERVER[:-1])


@pytest.mark.parametrize(
    ("text", "value"),
    [("--a=b", "--a=b"), ('"--a=b: \\"c\\""', '--a=b: "c"'), ("'--a=it''s'", "--a=it's"), ("--empty=", "--empty=")],
)
def test_quoted_words_of_a_command(text: str, value: str) -> None:
    manifest = f"spec:\n  containers:\n  - command:\n    - kube-apiserver\n    - {text}\n    image: x\n"
    assert core.manifest_command(manifest) == ("kube-apiserver", value)


@pytest.mark.parametrize(
    ("changed", "messages"),
    [
        (APISERVER, []),
        (APISERVER.replace("--profiling=false", "--profiling=true"), []),
        (
            APISERVER.replace("10.96.0.0/16", "10.97.0.0/16"),
            [
                "'cluster_service_cidrs' cannot change on a live cluster: it runs with '10.96.0.0/16', asked for is '10.97.0.0/16'"
            ],
        ),
        (
            APISERVER.replace("svc.cluster.local", "svc.example.com"),
            [
                "'cluster_domain' cannot change on a live cluster: it runs with 'https://kubernetes.default.svc.cluster.local', "
                "asked for is 'https://kubernetes.default.svc.example.com'"
            ],
        ),
    ],
)
def test_what_cannot_change(changed: str, messages: list[str]) -> None:
    assert core.refusals(APISERVER, changed) == messages


def test_a_new_version_is_no_setting() -> None:
    [message] = core.refusals(APISERVER, APISERVER.replace("kube-apiserver:v1.36.3", "kube-apiserver:v1.37.0"))
    assert "it runs v1.36.3, asked for is v1.37.0" in message


def test_cluster_configuration_of_migrate() -> None:
    text = core.cluster_configuration_text((RECORDED / "kubeadm-config-migrate.yaml.txt").read_text())
    document = yaml.safe_load(text)
    assert document["kind"] == "ClusterConfiguration" and document["certificateValidityPeriod"] == "8760h0m0s"
    with pytest.raises(core.KubeadmError, match="printed no ClusterConfiguration"):
        core.cluster_configuration_text("kind: InitConfiguration\n")


def test_block_of_a_printed_config_map() -> None:
    text = "data:\n  kubeconfig.conf: |-\n    a: 1\n  config.conf: |-\n    b:\n      c: 2\n\n    d: 3\n\n---\nkind: x\n"
    assert core.block_scalar(text, "config.conf") == "b:\n  c: 2\n\nd: 3"
    with pytest.raises(core.KubeadmError, match="printed no 'other'"):
        core.block_scalar(text, "other")


@pytest.mark.parametrize(
    ("written", "restarted", "created", "old"),
    [
        (["2026-01-01T10:00:00Z"], "", "2026-01-01T10:00:05Z", False),
        (["2026-01-01T10:00:00Z", "2026-01-02T10:00:00Z"], "", "2026-01-01T10:00:05Z", True),
        (["2026-01-02T10:00:00Z"], "2026-01-02T10:00:01Z", "2026-01-01T10:00:05Z", False),
        (["2026-01-03T10:00:00Z"], "2026-01-02T10:00:01Z", "2026-01-02T10:00:05Z", True),
        ([], "", "2026-01-01T10:00:05Z", False),
    ],
)
def test_pods_that_run_with_older_settings(written: list[str], restarted: str, created: str, old: bool) -> None:
    config = {"metadata": {"managedFields": [{"time": time} for time in written]}}
    daemon_set = {
        "spec": {"template": {"metadata": {"annotations": {core.RESTARTED: restarted} if restarted else None}}}
    }
    pods = [{"metadata": {"name": "kube-proxy-x", "creationTimestamp": created}}]
    assert core.outdated_pods(config, daemon_set, pods) == (["kube-proxy-x"] if old else [])


def test_kubeconfig_fields() -> None:
    text = (
        "apiVersion: v1\nclusters:\n- cluster:\n    certificate-authority-data: QQ==\n    server: https://a:1\n  name: k\n"
        "current-context: x@k\nusers:\n- name: x\n  user:\n    client-certificate: /a/b.pem\n"
    )
    assert core.kubeconfig_fields(text) == {
        "certificate-authority-data": "QQ==",
        "server": "https://a:1",
        "current-context": "x@k",
        "client-certificate": "/a/b.pem",
    }
    assert core.kubeconfig_fields("") == {}


def test_missing_document() -> None:
    with pytest.raises(core.KubeadmError, match="'configuration' holds no document of kind 'JoinConfiguration'"):
        core.document_of(DOCUMENTS, "JoinConfiguration")
