"""The probe workload is what verify asks: its names are a contract."""

from __future__ import annotations

import typing as t

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import probe


def build(external: bool) -> dict[tuple[str, str], dict[str, t.Any]]:
    found = probe.objects("registry/echo-server:v1", external=external)
    return {(obj["kind"], obj["metadata"]["name"]): obj for obj in found}


def test_names_and_labels_that_verify_relies_on() -> None:
    named = build(True)
    assert sorted(named) == [
        ("DaemonSet", "probe"),
        ("Namespace", "bare-metal-system"),
        ("Service", "probe"),
        ("Service", "probe-external"),
    ]
    template = named["DaemonSet", "probe"]["spec"]["template"]
    assert template["metadata"]["labels"] == {"app.kubernetes.io/name": "probe"}
    assert template["spec"]["containers"][0]["name"] == "probe"


def test_without_pools_there_is_no_external_service() -> None:
    assert ("Service", "probe-external") not in build(False)


def test_services_find_the_pods() -> None:
    named = build(True)
    labels = named["DaemonSet", "probe"]["spec"]["template"]["metadata"]["labels"]
    ports = named["DaemonSet", "probe"]["spec"]["template"]["spec"]["containers"][0]["ports"]
    for name in ("probe", "probe-external"):
        spec = named["Service", name]["spec"]
        assert spec["selector"].items() <= labels.items()
        assert spec["ports"][0]["targetPort"] in [port["name"] for port in ports]
    assert named["Service", "probe-external"]["spec"]["externalTrafficPolicy"] == "Cluster"


def test_it_runs_on_every_node_with_the_rights_of_nobody() -> None:
    pod = build(False)["DaemonSet", "probe"]["spec"]["template"]["spec"]
    assert pod["tolerations"] == [{"operator": "Exists"}]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["containers"][0]["securityContext"]["capabilities"] == {"drop": ["ALL"]}
