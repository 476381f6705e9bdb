"""Applying a set of objects, against an API that lives in a dictionary."""

from __future__ import annotations

import copy
import threading
import typing as t

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _manifests as rules
from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _manifests_run as run
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._kube_api import FIELD_MANAGER, KubeApiError

CRD = "CustomResourceDefinition"


class Memory:
    """As much of the API as the application needs. Custom kinds are served once their definition stands."""

    def __init__(self) -> None:
        self.objects: dict[rules.Ref, dict[str, t.Any]] = {}
        self.log: list[tuple[str, str]] = []
        self.webhook_failures = 0
        self.lock = threading.Lock()

    def _serves(self, kind: str, api_version: str) -> bool:
        custom = "example.com" in api_version
        return not custom or any(ref.kind == CRD and obj["spec"] == kind for ref, obj in self.objects.items())

    def get(self, api_version: str, kind: str, name: str, namespace: str = "") -> dict[str, t.Any] | None:
        if not self._serves(kind, api_version):
            raise KubeApiError("unknown", 404, "UnknownKind")
        return copy.deepcopy(self.objects.get(rules.Ref(api_version, kind, namespace, name)))

    def apply(self, obj: dict[str, t.Any], *, dry_run: bool = False, deadline: float | None = None) -> dict[str, t.Any]:
        ref = rules.ref_of(obj)
        with self.lock:
            if not self._serves(ref.kind, ref.api_version):
                raise KubeApiError("unknown", 404, "UnknownKind")
            if "example.com" in ref.api_version and self.webhook_failures and not dry_run:
                self.webhook_failures -= 1
                raise KubeApiError("failed calling webhook", 500, "InternalError")
            would = {**self.objects.get(ref, {}), **copy.deepcopy(obj)}
            would["metadata"]["managedFields"] = [{"manager": FIELD_MANAGER, "operation": "Apply"}]
            if ref.kind == CRD:
                would["status"] = {
                    "conditions": [{"type": n, "status": "True"} for n in ("NamesAccepted", "Established")]
                }
            self.log.append(("dry" if dry_run else "apply", str(ref)))
            if not dry_run:
                self.objects[ref] = would
            return would

    def delete(self, obj: dict[str, t.Any]) -> bool:
        self.log.append(("delete", str(rules.ref_of(obj))))
        return self.objects.pop(rules.ref_of(obj), None) is not None

    def kinds(self, verbs: t.Iterable[str]) -> list[tuple[str, str]]:
        assert set(verbs) == {"list", "delete"}
        return sorted({(ref.api_version, ref.kind) for ref in self.objects})

    def list(self, api_version: str, kind: str, namespace: str = "", **selectors: t.Any) -> t.Any:
        return [
            obj
            for ref, obj in self.objects.items()
            if (ref.api_version, ref.kind) == (api_version, kind) and namespace in ("", ref.namespace)
        ]


def make(kind: str, name: str = "x", api: str = "v1", **rest: t.Any) -> dict[str, t.Any]:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name}, **rest}


WANTED = [
    make("Gadget", "g", "example.com/v1", spec={"size": 1}),
    make("ConfigMap", "c", data={"a": "1"}),
    make(CRD, "gadgets", "apiextensions.k8s.io/v1", spec="Gadget"),
    make("Namespace", "n"),
]


@pytest.fixture()
def api(monkeypatch: pytest.MonkeyPatch) -> Memory:
    monkeypatch.setattr(run, "POLL_SECONDS", 0.01)
    return Memory()


def manifests(api: Memory, timeout: float = 1.0) -> run.Manifests:
    return run.Manifests(t.cast(t.Any, api), "o", timeout=timeout)


def bring(api: Memory, wanted: list[t.Any], *, prune: bool = False, immutable: t.Any = None) -> run.Plan:
    tool = manifests(api)
    plan = tool.plan(wanted, prune=prune, immutable=immutable or {})
    tool.apply(plan)
    return plan


def test_a_first_application_creates_in_order_and_a_second_changes_nothing(api: Memory) -> None:
    first = bring(api, WANTED)
    assert [change.action for change in first.all] == ["create"] * 4
    assert api.log == [
        ("apply", "Namespace n"),
        ("apply", f"{CRD} gadgets"),
        ("apply", "ConfigMap c"),
        ("apply", "Gadget g"),
    ]
    api.log.clear()
    assert bring(api, WANTED, prune=True).all == ()
    assert {verb for verb, _ref in api.log} == {"dry"}


def test_only_what_differs_is_applied(api: Memory) -> None:
    bring(api, WANTED)
    api.log.clear()
    plan = bring(api, [*WANTED[:1], make("ConfigMap", "c", data={"a": "2"}), *WANTED[2:]])
    assert [(change.action, str(change.ref)) for change in plan.all] == [("update", "ConfigMap c")]
    assert [entry for entry in api.log if entry[0] == "apply"] == [("apply", "ConfigMap c")]


def test_planning_changes_nothing(api: Memory) -> None:
    plan = manifests(api).plan(WANTED, prune=True, immutable={})
    assert len(plan.all) == 4
    assert api.objects == {}


def test_what_is_no_longer_wanted_is_removed_but_definitions_stay(api: Memory) -> None:
    bring(api, WANTED)
    plan = bring(api, WANTED[3:], prune=True)
    assert [(change.action, str(change.ref)) for change in plan.all] == [
        ("delete", "Gadget g"),
        ("delete", "ConfigMap c"),
    ]
    assert sorted(str(ref) for ref in api.objects) == [f"{CRD} gadgets", "Namespace n"]
    assert plan.warnings[0].endswith(f": {CRD} gadgets")


def test_a_custom_resource_is_tried_again_while_its_webhook_starts(api: Memory) -> None:
    api.webhook_failures = 3
    bring(api, WANTED)
    assert any(ref.kind == "Gadget" for ref in api.objects)


def test_a_webhook_that_never_starts_is_an_error(api: Memory) -> None:
    api.webhook_failures = 10**6
    tool = manifests(api, timeout=0.1)
    with pytest.raises(KubeApiError, match="failed calling webhook"):
        tool.apply(tool.plan(WANTED, prune=False, immutable={}))


def test_a_change_of_a_field_in_use_is_refused_before_anything_is_done(api: Memory) -> None:
    bring(api, WANTED)
    api.log.clear()
    wanted = [make("Gadget", "g", "example.com/v1", spec={"size": 2}), make("ConfigMap", "new")]
    with pytest.raises(rules.ManifestError, match=r"Gadget g: spec.size is 1 and cannot become 2"):
        bring(api, wanted, immutable={"Gadget": ["spec.size"]})
    assert {verb for verb, _ref in api.log} == {"dry"}


def test_a_custom_resource_that_the_server_cannot_judge_yet_is_compared_by_what_is_wanted(
    api: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring(api, WANTED)
    real = api.apply

    def refuse(obj: dict[str, t.Any], *, dry_run: bool = False, deadline: float | None = None) -> t.Any:
        if dry_run and obj["kind"] == "Gadget":
            raise KubeApiError("unknown field", 400, "BadRequest")
        return real(obj, dry_run=dry_run)

    monkeypatch.setattr(api, "apply", refuse)
    assert manifests(api).plan(WANTED, prune=False, immutable={}).all == ()
    wanted = [make("Gadget", "g", "example.com/v1", spec={"size": 1, "new": True})]
    (change,) = manifests(api).plan(wanted, prune=False, immutable={}).all
    assert change.after is not None
    assert change.after["spec"] == {"size": 1, "new": True}


def test_an_error_of_a_built_in_kind_is_not_swallowed(api: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    bring(api, WANTED)

    def refuse(*_args: t.Any, **_kwargs: t.Any) -> t.Any:
        raise KubeApiError("immutable", 422, "Invalid")

    monkeypatch.setattr(api, "apply", refuse)
    with pytest.raises(KubeApiError, match="immutable"):
        manifests(api).plan(WANTED, prune=False, immutable={})


def test_waiting_ends_with_the_pods_and_their_reasons(api: Memory) -> None:
    workload = make("DaemonSet", "d", "apps/v1", spec={"selector": {"matchLabels": {"app": "d"}}})
    bring(api, [workload])
    api.objects[rules.ref_of(workload)]["status"] = {"desiredNumberScheduled": 1}
    stuck = make("Pod", "d-1", status={"phase": "Pending"}, spec={"nodeName": "n1"})
    api.objects[rules.ref_of(stuck)] = stuck
    with pytest.raises(
        run.NotReadyError, match=r"DaemonSet d: 0 of 1 nodes run .* \[pod d-1 on n1 \(Pending\): no reason"
    ):
        manifests(api, timeout=0.05).wait([workload])
    api.objects[rules.ref_of(workload)]["status"] = {"desiredNumberScheduled": 0}
    assert manifests(api).wait([workload]) >= 0


def test_a_workload_of_others_is_waited_for_by_its_name_where_it_is_there(api: Memory) -> None:
    workload = make("Deployment", "dns", "apps/v1", spec={"replicas": 2, "selector": {"matchLabels": {"app": "dns"}}})
    named = make("Deployment", "dns", "apps/v1")
    assert manifests(api).present([named]) == []
    bring(api, [workload])
    assert manifests(api).present([named]) == [named]
    api.objects[rules.ref_of(workload)]["status"] = {"replicas": 2, "updatedReplicas": 2, "availableReplicas": 1}
    stuck = make("Pod", "dns-1", status={"phase": "Pending"}, spec={"nodeName": "n1"})
    stuck["metadata"]["labels"] = {"app": "dns"}
    api.objects[rules.ref_of(stuck)] = stuck
    with pytest.raises(run.NotReadyError, match=r"Deployment dns: .* \[pod dns-1 on n1 \(Pending\)"):
        manifests(api, timeout=0.05).wait([named])
    api.objects[rules.ref_of(workload)]["status"]["availableReplicas"] = 2
    assert manifests(api).wait([named]) >= 0


def test_without_an_api_everything_is_new() -> None:
    plan = run.plan_without_api(WANTED, "o")
    assert [change.action for change in plan.all] == ["create"] * 4
    assert "does not answer" in plan.warnings[0]
