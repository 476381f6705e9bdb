"""An API address that control planes announce. Each rule with its message is in the table of test_cluster.py."""

from __future__ import annotations

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import cluster, endpoint_rules
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster_model import View

from .test_cluster import Break, anycast, both, common, draft, everywhere, own


def found(rule: str, *breaks: Break) -> list[str]:
    made = draft()
    both(*breaks)(made)
    return [problem.variable for problem in endpoint_rules.RULES[rule](View(made.build()))]


def test_the_rules_are_registered() -> None:
    assert endpoint_rules.RULES.items() <= cluster.RULES.items()


@pytest.mark.parametrize("rule", ["announced_address", "announcing_sessions"])
@pytest.mark.parametrize("mode", ["local", "keepalived", "external"])
def test_other_modes_are_left_alone(rule: str, mode: str) -> None:
    broken = anycast(own("cp1", cluster_api_endpoint_bgp_peers=[]), cluster_api_endpoint_address="api.example.org")
    assert found(rule, broken)
    assert found(rule, broken, common(cluster_api_endpoint_mode=mode)) == []


def test_a_source_of_its_own_is_needed_where_another_session_has_the_same_router_and_only_there() -> None:
    plain = anycast(*(own(name, cluster_api_endpoint_bgp_source="") for name in ("cp1", "cp2", "cp3")))
    assert found("announcing_sessions", plain) == ["cluster_api_endpoint_bgp_source"] * 3
    reflected = both(everywhere(cluster_bgp_as_number=64512), common(cluster_bgp_topology="route_reflectors"))
    # cp1 and cp2 reflect and speak with their routers, cp3 does not.
    assert found("announcing_sessions", plain, reflected) == ["cluster_api_endpoint_bgp_source"] * 2
    speakers = common(
        cluster_load_balancer_mode="metallb_bgp", cluster_bgp_topology="none", cluster_encapsulation="vxlan"
    )
    assert found("announcing_sessions", plain, speakers) == ["cluster_api_endpoint_bgp_source"] * 3
