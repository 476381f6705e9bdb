"""Order, comparison, diff, prune and readiness of objects: pure functions on objects as the API shows them."""

from __future__ import annotations

import base64
import json
import typing as t

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _manifests as rules


def make(kind: str, name: str = "x", api: str = "v1", **rest: t.Any) -> dict[str, t.Any]:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name, **rest.pop("metadata", {})}, **rest}


def test_what_others_need_comes_first() -> None:
    given = [
        make("BGPPeer", api="crd.projectcalico.org/v1"),
        make("ValidatingWebhookConfiguration", api="admissionregistration.k8s.io/v1"),
        make("DaemonSet", api="apps/v1"),
        make("ClusterRole", api="rbac.authorization.k8s.io/v1"),
        make("CustomResourceDefinition", api="apiextensions.k8s.io/v1"),
        make("Namespace"),
    ]
    assert [obj["kind"] for obj in rules.prepare(given, "o")] == [obj["kind"] for obj in reversed(given)]


def test_prepared_objects_carry_their_owner_and_nothing_that_the_server_writes() -> None:
    given = make("ConfigMap", metadata={"labels": {"a": "b"}, "creationTimestamp": None, "uid": "1"}, status={"x": 1})
    (prepared,) = rules.prepare([given], "calico")
    assert prepared["metadata"] == {"name": "x", "labels": {"a": "b", "bare-metal.kubernetes/owner": "calico"}}
    assert "status" not in prepared
    assert given["metadata"]["uid"] == "1", "the caller's object is left as it is"


@pytest.mark.parametrize(
    ("objects", "words"),
    [
        (["text"], "object number 1 is a str"),
        ([{"kind": "X"}], "has no apiVersion"),
        ([{"apiVersion": "v1", "kind": "X", "metadata": {}}], r"\(X\) has no metadata.name"),
        ([make("X"), make("X")], "X x is given twice"),
        ([make("X", api="a.b/v1"), make("X", api="a.b/v2")], "X x is given twice"),
        (["a", {}], "number 1 .*; object number 2 "),
    ],
)
def test_what_is_no_object_is_refused_with_all_reasons(objects: list[t.Any], words: str) -> None:
    with pytest.raises(rules.ManifestError, match=words):
        rules.prepare(objects, "o")


def test_a_label_that_calico_moved_into_its_annotation_is_still_there() -> None:
    wanted = make("FelixConfiguration", metadata={"labels": {"bare-metal.kubernetes/owner": "calico"}})
    kept = {"projectcalico.org/metadata": json.dumps({"labels": {"bare-metal.kubernetes/owner": "calico"}})}
    moved = make("FelixConfiguration", metadata={"annotations": kept})
    lost = make("FelixConfiguration", metadata={"annotations": {"projectcalico.org/metadata": "{}"}})
    would = make("FelixConfiguration", metadata={"annotations": kept, **wanted["metadata"]})
    assert rules.change_of(wanted, moved, would) is None
    change = rules.change_of(wanted, lost, would)
    assert change is not None
    assert change.action == "update"


def test_the_same_name_in_two_groups_or_namespaces_is_two_objects() -> None:
    given = [make("X", api="a.b/v1"), make("X", api="c.d/v1"), make("X", metadata={"namespace": "n"}), make("X")]
    assert len(rules.prepare(given, "o")) == 4


LIVE = make(
    "ConfigMap",
    metadata={"resourceVersion": "5", "generation": 2, "managedFields": [{}], "uid": "u", "creationTimestamp": "t"},
    data={"a": "1"},
)


@pytest.mark.parametrize(
    ("live", "would", "action"),
    [
        (None, None, "create"),
        (LIVE, {**LIVE, "metadata": {"name": "x", "resourceVersion": "6", "generation": 3}, "status": {"y": 1}}, None),
        (LIVE, {**LIVE, "metadata": {"name": "x", "annotations": {"deployment.kubernetes.io/revision": "2"}}}, None),
        (LIVE, {**LIVE, "data": {"a": "2"}}, "update"),
        (LIVE, {**LIVE, "metadata": {"name": "x", "labels": {"l": "1"}}}, "update"),
    ],
)
def test_only_what_matters_is_a_difference(live: t.Any, would: t.Any, action: str | None) -> None:
    change = rules.change_of(make("ConfigMap", data={"a": "1"}), live, would)
    assert (change.action if change else None) == action


def test_a_field_in_use_is_not_changed() -> None:
    before, after = (
        make("IPPool", spec={"cidr": "10.0.0.0/16", "blockSize": 26}),
        make("IPPool", spec={"blockSize": 24}),
    )
    change = rules.Change("update", rules.ref_of(before), before, after)
    created = rules.Change("create", rules.ref_of(before), None, after)
    assert rules.refused_changes([created], {"IPPool": ["spec.blockSize"]}) == []
    found = rules.refused_changes([change], {"IPPool": ["spec.cidr", "spec.blockSize"], "Other": ["spec.x"]})
    assert found == [
        "IPPool x: spec.cidr is '10.0.0.0/16' and cannot become None while it is in use",
        "IPPool x: spec.blockSize is 26 and cannot become 24 while it is in use",
    ]


def managed(kind: str, name: str, *, manager: str = "m", api: str = "v1", **meta: t.Any) -> dict[str, t.Any]:
    return make(kind, name, api, metadata={"managedFields": [{"manager": manager, "operation": "Apply"}], **meta})


def test_only_what_we_applied_and_nobody_else_owns_is_removed() -> None:
    found = [
        managed("ConfigMap", "kept"),
        managed("ConfigMap", "gone"),
        managed("Endpoints", "copied-label", manager="endpoint-controller"),
        managed("EndpointSlice", "owned", api="discovery.k8s.io/v1", ownerReferences=[{}]),
        managed("ConfigMap", "leaving", deletionTimestamp="now"),
        managed("Namespace", "n"),
        managed("DaemonSet", "d", api="apps/v1"),
        managed("L2Advertisement", "a", api="metallb.io/v1beta1"),
    ]
    removals, warnings = rules.prunable(found, [make("ConfigMap", "kept")], "m")
    assert [(change.action, str(change.ref)) for change in removals] == [
        ("delete", "L2Advertisement a"),
        ("delete", "DaemonSet d"),
        ("delete", "ConfigMap gone"),
    ]
    assert warnings == ["no longer wanted, but left, because removing them removes what others put there: Namespace n"]


def test_an_object_that_is_listed_in_another_version_is_the_wanted_one() -> None:
    removals, _warnings = rules.prunable([managed("X", "a", api="g.io/v1")], [make("X", "a", "g.io/v1beta1")], "m")
    assert removals == []


def test_a_diff_shows_that_a_secret_differs_and_never_its_value() -> None:
    before, after = ({**make("Secret"), "data": {"same": "c2FtZQ==", "new": value}} for value in ("b2xk", "bmV3"))
    (diff,) = rules.diff_of([rules.Change("update", rules.ref_of(before), before, after)])
    text = json.dumps(diff)
    for secret in ("c2FtZQ", "b2xk", "bmV3"):
        assert secret not in text
    assert '  same: "(hidden)"' in diff["before"]
    assert '  new: "(hidden, differs)"' in diff["after"]
    assert diff["before_header"] == "v1 Secret x"


def test_values_of_secrets_are_known_in_both_forms() -> None:
    encoded = base64.b64encode(b"canary").decode()
    given = [
        {**make("Secret"), "data": {"a": encoded, "b": "%"}, "stringData": {"c": "plain"}},
        make("ConfigMap", data={"x": "y"}),
    ]
    assert rules.secret_values(given) == {encoded, "canary", "%", "plain"}


def test_a_diff_reads_like_yaml() -> None:
    obj = make(
        "ConfigMap",
        data={"text": "a\nb", "flag": "true", "number": "12", "word": "w", "empty": ""},
        items=[{"a": 1, "b": []}, 2],
    )
    (diff,) = rules.diff_of([rules.Change("create", rules.ref_of(obj), None, obj)])
    assert diff["before"] == ""
    assert diff["after"].splitlines() == [
        "apiVersion: v1",
        "data:",
        '  empty: ""',
        '  flag: "true"',
        '  number: "12"',
        "  text: |",
        "    a",
        "    b",
        "  word: w",
        "items:",
        "  - a: 1",
        "    b: []",
        "  - 2",
        "kind: ConfigMap",
        "metadata:",
        "  name: x",
    ]


def test_a_changed_schema_of_a_definition_is_seen_without_being_printed() -> None:
    first, second = (
        make("CustomResourceDefinition", spec={"versions": [{"name": "v1", "schema": {"long": word}}]})
        for word in ("a", "b")
    )
    (diff,) = rules.diff_of([rules.Change("update", rules.ref_of(first), first, second)])
    assert "long" not in diff["before"]
    assert diff["before"] != diff["after"]


def deployment(generation: int = 1, **status: t.Any) -> dict[str, t.Any]:
    return make("Deployment", api="apps/v1", metadata={"generation": generation}, spec={"replicas": 2}, status=status)


def daemon_set(generation: int = 1, **status: t.Any) -> dict[str, t.Any]:
    return make("DaemonSet", api="apps/v1", metadata={"generation": generation}, status=status)


def condition(kind: str, state: str, **rest: str) -> dict[str, t.Any]:
    return {"conditions": [{"type": kind, "status": state, **rest}]}


@pytest.mark.parametrize(
    ("obj", "reason"),
    [
        (deployment(observedGeneration=1, updatedReplicas=2, replicas=2, availableReplicas=2), ""),
        (
            deployment(2, observedGeneration=1, updatedReplicas=2, replicas=2, availableReplicas=2),
            "not seen the change",
        ),
        (
            deployment(observedGeneration=1, updatedReplicas=1, replicas=2, availableReplicas=2),
            "1 of 2 replicas are of the wanted",
        ),
        (deployment(observedGeneration=1, updatedReplicas=2, replicas=3, availableReplicas=3), "1 old replicas"),
        (deployment(observedGeneration=1, updatedReplicas=2, replicas=2), "0 of 2 replicas are available"),
        (
            deployment(observedGeneration=1, **condition("Progressing", "False", reason="ProgressDeadlineExceeded")),
            "progress deadline",
        ),
        (daemon_set(observedGeneration=1, desiredNumberScheduled=3, updatedNumberScheduled=3, numberAvailable=3), ""),
        (daemon_set(observedGeneration=1, desiredNumberScheduled=0), ""),
        (
            daemon_set(observedGeneration=1, desiredNumberScheduled=3, updatedNumberScheduled=2, numberAvailable=3),
            "2 of 3 nodes run",
        ),
        (
            daemon_set(observedGeneration=1, desiredNumberScheduled=3, updatedNumberScheduled=3, numberAvailable=1),
            "1 of 3 nodes have",
        ),
        (daemon_set(), "not seen the change"),
        (make("StatefulSet", spec={"replicas": 1}, status={"updatedReplicas": 1, "readyReplicas": 1}), ""),
        (make("StatefulSet", spec={"replicas": 1}, status={"updatedReplicas": 1}), "0 of 1 replicas are ready"),
        (make("Job", status=condition("Complete", "True")), ""),
        (make("Job"), "has not completed"),
        (make("Job", status=condition("Failed", "True", message="boom")), "it failed: boom"),
        (make("CustomResourceDefinition"), "NamesAccepted is not known yet"),
        (
            make("CustomResourceDefinition", status=condition("NamesAccepted", "False", message="taken")),
            "NamesAccepted is False: taken",
        ),
        (
            make(
                "CustomResourceDefinition",
                status={"conditions": [{"type": name, "status": "True"} for name in ("NamesAccepted", "Established")]},
            ),
            "",
        ),
        (
            make("Service", spec={"type": "LoadBalancer"}, status={"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}),
            "",
        ),
        (make("Service", spec={"type": "LoadBalancer"}, status={"loadBalancer": {}}), "no external address"),
        (make("Service", spec={"type": "ClusterIP"}), ""),
        (make("ConfigMap"), ""),
    ],
)
def test_readiness(obj: dict[str, t.Any], reason: str) -> None:
    found = rules.not_ready(obj)
    assert (reason in found) if reason else (found == "")


def test_only_chosen_kinds_of_the_built_in_groups_are_waited_for() -> None:
    given = [deployment(), make("Service"), make("Service", api="serving.knative.dev/v1"), make("ConfigMap")]
    assert [obj["kind"] for obj in rules.waited_for(given, ["rolled_out"])] == ["Deployment"]
    assert len(rules.waited_for(given, ["rolled_out", "load_balancer"])) == 2
    assert rules.waited_for(given, []) == []


def pod(status: dict[str, t.Any], node: str = "n1") -> dict[str, t.Any]:
    return make("Pod", "p", spec={"nodeName": node} if node else {}, status=status)


WAITING = {"name": "c", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}
CRASHED = {
    "name": "c",
    "state": {"waiting": {"reason": "CrashLoopBackOff"}},
    "lastState": {"terminated": {"exitCode": 1, "reason": "Error"}},
}
INITIALIZING = {"name": "main", "state": {"waiting": {"reason": "PodInitializing"}}}
EVENTS = [
    {"type": "Warning", "reason": "FailedMount", "message": "no secret", "lastTimestamp": "2"},
    {"type": "Normal", "reason": "Pulled", "message": "fine", "lastTimestamp": "3"},
]


@pytest.mark.parametrize(
    ("given", "events", "expected"),
    [
        (pod({"phase": "Running", **condition("Ready", "True")}), [], ""),
        (pod({"phase": "Succeeded"}), [], ""),
        (
            pod({"phase": "Pending", "containerStatuses": [WAITING]}),
            EVENTS,
            "pod p on n1 (Pending): container c ImagePullBackOff: no such image; FailedMount: no secret",
        ),
        (
            pod({"phase": "Running", "containerStatuses": [CRASHED]}),
            [],
            "pod p on n1 (Running): container c CrashLoopBackOff; last ended with exit code 1 (Error)",
        ),
        (
            pod({"phase": "Pending", "initContainerStatuses": [WAITING], "containerStatuses": [INITIALIZING]}),
            [],
            "pod p on n1 (Pending): container c ImagePullBackOff: no such image",
        ),
        (
            pod({"phase": "Running", "containerStatuses": [{"name": "c", "ready": False, "state": {"running": {}}}]}),
            [],
            "pod p on n1 (Running): container c runs, but is not ready",
        ),
        (
            pod({"phase": "Pending", **condition("PodScheduled", "False", message="0/5 nodes fit")}, node=""),
            [],
            "pod p on no node (Pending): not scheduled: 0/5 nodes fit",
        ),
        (pod({}), [], "pod p on n1 (Unknown): no reason given"),
    ],
)
def test_a_pod_says_why_it_is_not_ready(given: dict[str, t.Any], events: list[t.Any], expected: str) -> None:
    assert rules.describe_pod(given, events) == expected


def test_merged_lays_mappings_over_each_other() -> None:
    assert rules.merged({"a": {"b": 1, "c": [1]}, "d": 1}, {"a": {"c": [2]}, "e": 1}) == {
        "a": {"b": 1, "c": [2]},
        "d": 1,
        "e": 1,
    }
