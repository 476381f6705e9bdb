"""What the pushing actions hand to their modules. The way over a connection is tested through the actions themselves."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleActionFail

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import push


def test_keys_of_the_filters_are_dropped_and_others_reach_the_module() -> None:
    entries = [{"name": "kubelet", "sha256": "00", "component": "kubernetes", "typo": 1}]
    assert push.without(entries, "files", ("component", "version")) == [{"name": "kubelet", "sha256": "00", "typo": 1}]
    assert entries[0]["component"] == "kubernetes", "the caller's list is left alone"


def test_nothing_to_push() -> None:
    assert push.without([], "files", ("component",)) == []


@pytest.mark.parametrize("entries", ["kubelet", None, {"name": "kubelet"}, [["kubelet"]], ["kubelet"], 5])
def test_what_is_no_list_of_dictionaries_is_refused_by_name(entries: Any) -> None:
    with pytest.raises(AnsibleActionFail, match="'files' has to be a list of dictionaries"):
        push.without(entries, "files", ())
