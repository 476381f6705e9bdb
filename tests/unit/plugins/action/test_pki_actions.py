"""The two actions: when keys travel, when a host is contacted, and what is said when it cannot go on."""

from __future__ import annotations

import json
from unittest.mock import MagicMock

import pytest
from ansible.errors import AnsibleActionFail

from ansible_collections.bare_metal.kubernetes.plugins.action import pki_authorities, pki_install
from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _pki_files as files

EMPTY = {
    "control_plane": True,
    "etcd": True,
    "names": ["cp1"],
    "addresses": ["10.0.0.1"],
    "etcd_user": False,
    "files": {},
}


class Target:
    """A host that takes what pki_install gives it and shows it as pki_facts does; every module call is kept."""

    def __init__(self, tmp_path) -> None:
        self.root = tmp_path
        self.entries: dict[str, dict] = {}
        self.calls: list[str] = []
        self.fails = ""

    def execute(self, module_name: str, module_args: dict, task_vars: dict) -> dict:
        self.calls.append(module_name.rsplit(".", maxsplit=1)[-1])
        if self.fails:
            return {"failed": True, "msg": self.fails}
        if module_name.endswith("pki_install"):
            for entry in module_args["files"]:
                self.entries[entry["path"]] = {**self.entries.get(entry["path"], {}), **entry}
            return {"changed": True}
        return {"pki": {"files": {path: {"content": entry.get("content")} for path, entry in self.entries.items()}}}

    def facts(self) -> dict:
        found = {}
        for spec in files.files_of(True, True):
            entry = self.entries.get(spec.path)
            if entry is None:
                continue
            fact = {"kind": spec.kind, "type": "file", "mode": entry["mode"], "owner": entry["owner"]}
            if spec.kind != "directory":
                for path in (spec.path, spec.certificate):
                    if path in self.entries:
                        (self.root / path.replace("/", "_")).write_text(self.entries[path]["content"])
                real = files.PkiFile(
                    str(self.root / spec.path.replace("/", "_")),
                    spec.kind,
                    spec.mode,
                    certificate=str(self.root / spec.certificate.replace("/", "_")) if spec.certificate else "",
                )
                fact = {**(files.observe_file(real) or {}), **fact}
            found[spec.path] = fact
        return {**EMPTY, "etcd_user": bool(found), "files": found}


def action(
    kind, target: Target, arguments: dict, *, check: bool = False, no_log: bool = True, delegate_to: str | None = "cp1"
):
    task = MagicMock(args=arguments, check_mode=check, no_log=no_log, delegate_to=delegate_to, async_val=0)
    plugin = kind.ActionModule(task, MagicMock(), MagicMock(), MagicMock(), MagicMock(), MagicMock())
    plugin._execute_module = target.execute
    return plugin.run(task_vars={"inventory_hostname": "cp1"})


def authorities(target: Target, facts: dict | None = None, **options):
    return action(
        pki_authorities, target, {"facts": {"cp1": facts or target.facts()}, "expected_hosts": ["cp1"]}, **options
    )


@pytest.fixture
def target(tmp_path) -> Target:
    return Target(tmp_path)


@pytest.fixture
def complete(target) -> Target:
    found = authorities(target)
    action(pki_install, target, {"facts": EMPTY, "authorities": found["authorities"]})
    target.calls.clear()
    return target


def test_what_was_made_rests_on_a_control_plane_before_it_is_handed_out(target):
    result = authorities(target)
    assert result["changed"] and target.calls == ["pki_install"]
    assert (
        target.entries["/etc/kubernetes/pki/etcd/ca.key"]["content"] == result["authorities"]["secrets"]["keys"]["etcd"]
    )
    assert not any(path.startswith("/etc/etcd") for path in target.entries)


def test_a_whole_run_then_no_key_travels_and_no_host_is_contacted(complete):
    result = authorities(complete)
    assert not result["changed"] and "secrets" not in result["authorities"]
    assert "PRIVATE" not in json.dumps(result)
    installed = action(pki_install, complete, {"facts": complete.facts(), "authorities": result["authorities"]})
    assert installed["changed"] is False and complete.calls == []


def test_keys_are_fetched_when_a_leaf_is_missing(complete):
    del complete.entries["/etc/etcd/pki/peer.key"]
    facts = complete.facts()
    result = authorities(complete, facts)
    assert complete.calls == ["pki_facts"] and not result["changed"]
    installed = action(pki_install, complete, {"facts": facts, "authorities": result["authorities"]})
    assert set(installed["changes"]) == {"/etc/etcd/pki/peer.key", "/etc/etcd/pki/peer.crt"}
    assert complete.calls == ["pki_facts", "pki_install"]
    assert not authorities(complete)["authorities"].get("secrets")


def test_rights_are_mended_without_keys(complete):
    complete.entries["/etc/kubernetes/pki/ca.key"]["mode"] = "0644"
    facts = complete.facts()
    result = authorities(complete, facts)
    assert complete.calls == []
    action(pki_install, complete, {"facts": facts, "authorities": result["authorities"]})
    assert complete.entries["/etc/kubernetes/pki/ca.key"]["mode"] == "0600"


@pytest.mark.parametrize("state", ["target", "complete"])
def test_check_mode_contacts_nobody_and_tells_paths_only(state, request):
    machine = request.getfixturevalue(state)
    machine.entries.pop("/etc/etcd/pki/server.key", None)
    facts = machine.facts()
    result = authorities(machine, facts, check=True, no_log=False)
    planned = action(pki_install, machine, {"facts": facts, "authorities": result["authorities"]}, check=True)
    assert machine.calls == []
    assert planned["changed"] and "/etc/etcd/pki/server.crt: missing" in planned["diff"]["after"]
    assert "PRIVATE" not in json.dumps([result, planned]) and "BEGIN" not in json.dumps(planned)


def test_result_of_install_holds_no_secret(target):
    found = authorities(target)
    result = action(pki_install, target, {"facts": EMPTY, "authorities": found["authorities"]})
    assert "PRIVATE" not in json.dumps(result) and found["authorities"]["secrets"]["encryption"][0][
        1
    ] not in json.dumps(result)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"no_log": False}, "set no_log on the task"),
        ({"delegate_to": "cp2"}, r"delegate the task to cp1 \(it runs on cp2\)"),
    ],
)
def test_a_wrong_call_is_refused(target, options, words):
    with pytest.raises(AnsibleActionFail, match=words):
        authorities(target, **options)
    assert target.calls == []


def test_refusals_come_with_their_reason(target):
    facts = {**EMPTY, "addresses": ["node.example"]}
    with pytest.raises(AnsibleActionFail, match=r"cluster_node_ip is 'node\.example'"):
        authorities(target, facts)


def test_a_failing_host_is_named(target):
    target.fails = "No space left on device"
    with pytest.raises(AnsibleActionFail, match="pki_install failed on cp1: No space left on device"):
        authorities(target)


def test_install_without_keys_that_it_needs_is_refused(complete):
    packed = authorities(complete)["authorities"]
    with pytest.raises(AnsibleActionFail, match="came without their keys"):
        action(pki_install, complete, {"facts": EMPTY, "authorities": packed})
