"""What preflight_report is given of every host."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.bare_metal.kubernetes.plugins.filter.preflight import node_load, preflight_hosts


class Counted(dict[str, Any]):
    """Hostvars that count how often a host's variables are evaluated."""

    asked = 0

    def __getitem__(self, host: str) -> Any:
        self.asked += 1
        return super().__getitem__(host)


def test_every_host_is_read_once_with_or_without_an_answer() -> None:
    hostvars = Counted(
        a={
            "answer": {"problems": []},
            "os_prep_waivers": {"metal": "lab"},
            "cluster_rack": "r1",
            "cluster_node_ip": "10.0.0.1",
        },
        b={"ansible_host": "10.0.0.2", "os_prep_waivers": None, "answer": {"unreachable": True}},
        c={"os_prep_waivers": ["metal"]},
    )
    assert preflight_hosts(["a", "b", "c"], hostvars, "answer") == {
        "a": {"answer": {"problems": []}, "waivers": {"metal": "lab"}, "rack": "r1", "node_ip": "10.0.0.1"},
        "b": {"answer": {"unreachable": True}, "waivers": {}, "rack": "", "node_ip": "10.0.0.2"},
        "c": {"answer": {}, "waivers": {}, "rack": "", "node_ip": "c"},
    }
    assert hostvars.asked == 3


MANIFEST = {
    "images": [
        {"name": "registry.k8s.io/kube-apiserver", "size": 30 << 20},
        {"name": "docker.io/x/y", "size": 10 << 20},
    ],
    "files": [{"size": 5 << 20}],
}


def test_the_load_of_a_node_is_plain_data() -> None:
    expected = {
        "pods": 110,
        "images_mib": 10,
        "files_mib": 5,
        "assumed": False,
        "containers_per_pod": 2.0,
        "settings": {"maxPods": 9},
        "shared_mib": 0,
        "control_plane": False,
    }
    assert node_load("110", MANIFEST, {"maxPods": 9}, "2", False, "http://r:5000") == expected
    assert node_load(110)["assumed"] is True
    assert node_load(110, control_plane=True)["control_plane"] is True
    assert node_load(110, MANIFEST, control_plane=True)["control_plane"] is True


def test_a_load_that_cannot_be_added_up_says_so() -> None:
    with pytest.raises(AnsibleFilterError, match="node_load: "):
        node_load(110, {"images": [{}], "files": []})
