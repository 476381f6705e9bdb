"""Which recorded answer a simulated host of tests/bench/controller.py gives."""

from __future__ import annotations

import gzip
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FILE = Path(__file__).resolve().parents[2] / "bench" / "replay" / "answers.py"


@pytest.fixture(scope="module")
def answers() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_answers_under_test", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def payload(module: str, arguments: dict[str, Any]) -> bytes:
    params = json.dumps({"ANSIBLE_MODULE_ARGS": {**arguments, "_ansible_check_mode": False}})
    name = f"ansible_collections.bare_metal.kubernetes.plugins.modules.{module}"
    return f"def _ansiballz_main():\n    pass\n\n    _ansiballz_main(\nmodule_fqn={name!r},\nparams={params!r},\n)\n".encode()


def request(module: str, arguments: dict[str, Any]) -> bytes:
    params = json.dumps({"ANSIBLE_MODULE_ARGS": arguments})
    name = f"ansible_collections.bare_metal.kubernetes.plugins.modules.{module}"
    return f"import os\n\n\nmain('0af3', { ({'module': name, 'profile': 'legacy', 'params': params})!r})\n".encode()


@pytest.mark.parametrize("make", [payload, request], ids=["ansible", "interpreter"])
def test_a_call_is_read_from_what_is_sent(answers: ModuleType, make: Any) -> None:
    assert answers.call_of(make("node_files", {"files": ["it's"]})) == ("node_files", {"files": ["it's"]})


@pytest.mark.parametrize("sent", [None, b"", b"mkdir -p /tmp/x"])
def test_other_commands_are_no_calls(answers: ModuleType, sent: bytes | None) -> None:
    assert answers.call_of(sent) is None


def test_words_are_replaced_whole_and_all_at_once(answers: ModuleType) -> None:
    texts = {"worker2": "worker1", "worker1": "worker2", "10.0.0.2": "10.0.1.7"}
    said = answers.replace(
        "worker2 worker1 worker21 my-worker2 10.0.0.2 10.0.0.21 110.0.0.2 10.0.0.2/24 10.0.0.2.", texts
    )
    assert said == "worker1 worker2 worker21 my-worker2 10.0.1.7 10.0.0.21 110.0.0.2 10.0.1.7/24 10.0.1.7."


@pytest.fixture
def known(answers: ModuleType, tmp_path: Path) -> Any:
    recorded = [
        ("a", "Look", "etcd", {"state": "observed", "name": "one"}, '{"said": "observed of one"}'),
        ("a", "Look", "etcd", {"state": "joined", "name": "one"}, '{"said": "joined of one"}'),
        ("a", "Wait", "probe", {}, '{"said": "not yet"}'),
        ("a", "Wait", "probe", {}, '{"said": "there"}'),
        ("a", "Look once more", "probe", {}, '{"said": "still there"}'),
        (
            "b",
            "Look",
            "etcd",
            {"state": "observed", "name": "two"},
            '{"said": "observed of two", "epoch_seconds": 1.5}',
        ),
        ("b", "Look", "etcd", {"state": "joined", "name": "two"}, '{"said": "joined of two"}'),
    ]
    lines = [dict(zip(("host", "task", "module", "arguments", "output"), entry, strict=True)) for entry in recorded]
    assert answers.save(lines, tmp_path / "a.jsonl.gz") == len(recorded)
    (tmp_path / "h.json").write_text(json.dumps({"c": ["b", {"two": "three"}]}), encoding="utf-8")
    return answers.load(tmp_path / "a.jsonl.gz", tmp_path / "h.json")


def test_the_call_with_the_same_arguments_answers(known: Any) -> None:
    assert json.loads(known.find("a", "Look", "etcd", {"name": "one", "state": "joined"}))["said"] == "joined of one"
    assert (
        json.loads(known.find("a", "Look", "etcd", {"name": "one", "state": "observed"}))["said"] == "observed of one"
    )


@pytest.mark.parametrize(("task", "said"), [("Look once more", "still there"), ("Wait", "there")])
def test_the_same_call_answers_as_it_did_to_the_same_task_at_last(known: Any, task: str, said: str) -> None:
    assert json.loads(known.find("a", task, "probe", {}))["said"] == said


def test_a_simulated_host_answers_as_its_origin_with_its_own_name_and_the_time_of_now(known: Any) -> None:
    said = json.loads(known.find("c", "Look", "etcd", {"name": "three", "state": "observed"}))
    assert said["said"] == "observed of three"
    assert said["epoch_seconds"] > 1_700_000_000


def test_what_was_never_recorded_is_said(known: Any) -> None:
    with pytest.raises(LookupError, match="no answer of kubeadm"):
        known.find("a", "Look", "kubeadm", {})


def test_a_recording_is_for_its_user_alone_and_has_no_argument_in_plain(answers: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "recorded.jsonl.gz"
    entry = {"host": "a", "task": "Write", "module": "node_files", "arguments": {"key": "a-secret"}, "output": "{}"}
    answers.save([entry], path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert "a-secret" not in gzip.decompress(path.read_bytes()).decode()
