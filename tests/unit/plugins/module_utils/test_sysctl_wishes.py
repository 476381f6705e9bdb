"""_sysctl_wishes: names, values, and what a wish makes of a value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.bare_metal.kubernetes.plugins.module_utils._sysctl_wishes import (
    Parameter,
    SysctlError,
    meets,
    normal_key,
    parse_parameters,
    path_of,
    same,
    wanted_value,
)

# --- keys and values ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_key", "key", "path"),
    [
        ("net.ipv4.ip_forward", "net.ipv4.ip_forward", "/proc/sys/net/ipv4/ip_forward"),
        ("net/ipv4/ip_forward", "net.ipv4.ip_forward", "/proc/sys/net/ipv4/ip_forward"),
        (
            "net/ipv4/conf/eth0.100/rp_filter",
            "net.ipv4.conf.eth0/100.rp_filter",
            "/proc/sys/net/ipv4/conf/eth0.100/rp_filter",
        ),
        (
            "net.ipv4.conf.eth0/100.rp_filter",
            "net.ipv4.conf.eth0/100.rp_filter",
            "/proc/sys/net/ipv4/conf/eth0.100/rp_filter",
        ),
        (" kernel.panic ", "kernel.panic", "/proc/sys/kernel/panic"),
        ("/net/ipv4/ip_forward", "net.ipv4.ip_forward", "/proc/sys/net/ipv4/ip_forward"),
        ("net..ipv4.ip_forward", "net.ipv4.ip_forward", "/proc/sys/net/ipv4/ip_forward"),
    ],
)
def test_both_spellings_name_the_same_file(given_key: str, key: str, path: str) -> None:
    assert normal_key(given_key) == key
    assert path_of(key) == path


@pytest.mark.parametrize(
    ("left", "right", "equal"),
    [
        ("4096 131072 6291456", "4096\t131072\t6291456", True),
        ("0x10", "16", True),
        ("010", "8", True),
        ("-1", "-1", True),
        ("-1", "1", False),
        ("1", "1 1", False),
        ("cubic", "cubic", True),
        ("cubic", "bbr", False),
        ("0", "", False),
        ("0x1F", "31", True),
        ("-0x10", "-16", True),
        ("08", "8", False),
        ("٣", "3", False),
        ("8080,8081,30000-32767", "30000-32767,8080-8081", True),
        ("8080,8082", "8080-8082", False),
        ("5", "5-5", True),
        ("1,2", "1, 2", False),
    ],
)
def test_values_are_compared_word_by_word_as_numbers(left: str, right: str, equal: bool) -> None:
    assert same(left.split(), right.split()) is equal


def one(spec: Any) -> Parameter:
    return parse_parameters({"a.b": spec})[0]


@pytest.mark.parametrize(
    ("spec", "live", "becomes"),
    [
        (1, "0", "1"),
        (1, "1", "1"),
        ({"min": 8192}, "128", "8192"),
        ({"min": 8192}, "9999", "9999"),
        ({"max": 10}, "60", "10"),
        ({"max": 10}, "5", "5"),
        ({"min": 5, "max": 10}, "7", "7"),
        ({"min": 5, "max": 10}, "70", "10"),
        ({"min": "4096 131072 8000000"}, "4096 87380 6291456", "4096 131072 8000000"),
        ({"min": "4096 1 1"}, "1024 87380 6291456", "4096 87380 6291456"),
        ({"min": -1}, "-5", "-1"),
        ({"one_of": [0, 1]}, "1", "1"),
        ({"one_of": [0, 1]}, "2", "0"),
        ({"exactly": "bbr"}, "cubic", "bbr"),
        ({"min": 5}, "text", "5"),
    ],
)
def test_what_a_parameter_makes_of_a_value(spec: Any, live: str, becomes: str) -> None:
    parameter = one(spec)
    assert " ".join(wanted_value(parameter, live.split())) == becomes
    assert meets(parameter, live.split()) is (live == becomes)


@given(low=st.integers(-1000, 1000), live=st.integers(-1000, 1000))
def test_a_lower_bound_never_lowers_and_is_met_afterwards(low: int, live: int) -> None:
    parameter = one({"min": low})
    after = wanted_value(parameter, (str(live),))
    assert int(after[0]) == max(low, live)
    assert meets(parameter, after)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({"a.b": True}, "not true and false"),
        ({"a.b": {"exactly": [1]}}, "list"),
        ({"a.b": 1.5}, "float"),
        ({"a.b": ""}, "one line of words"),
        ({"a.b": "1\nkernel.core_pattern = |evil"}, "one line of words"),
        ({"a.b": {}}, "one of exactly"),
        ({"a.b": {"reason": "x"}}, "one of exactly"),
        ({"a.b": {"min": 1, "exactly": 2}}, "may go together"),
        ({"a.b": {"atleast": 1}}, "unknown atleast"),
        ({"a.b": {"min": "many"}}, "not a number"),
        ({"a.b": {"min": 5, "max": 4}}, "above max"),
        ({"a.b": {"min": "1 2", "max": 4}}, "min has 2 numbers"),
        ({"a.b": {"one_of": []}}, "list of values"),
        ({"net.ipv4.conf.*.rp_filter": 1}, "globs"),
        ({"a.b\x85c": 1}, "not the name"),
        ({"net/../../etc/x": 1}, "not the name"),
        ({"a.b": [1, {"atleast": 1}]}, "unknown atleast"),
        ({"a.b": [[1]]}, "list"),
        ({"": 1}, "not the name"),
        ({"a b": 1}, "not the name"),
    ],
)
def test_wishes_that_make_no_sense_are_refused(raw: Mapping[str, Any], said: str) -> None:
    with pytest.raises(SysctlError, match=said):
        parse_parameters(raw)


def test_all_bad_wishes_are_named_at_once() -> None:
    with pytest.raises(SysctlError) as caught:
        parse_parameters({"a.b": True, "c.d": {"min": "x"}, "e.f": 1})
    assert len(caught.value.problems) == 2


def test_null_leaves_a_parameter_alone_a_dash_makes_it_optional_and_forwarding_comes_first() -> None:
    found = parse_parameters({"a.a": 1, "-net.b": 1, "c.d": None, "net.ipv4.ip_forward": 1})
    assert [(parameter.key, parameter.optional) for parameter in found] == [
        ("net.ipv4.ip_forward", False),
        ("a.a", False),
        ("net.b", True),
    ]


# --- several wishes for one parameter -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wishes", "live", "becomes"),
    [
        ([{"min": 5}, {"min": 9}], "1", "9"),
        ([{"min": 5}, {"max": 9}], "20", "9"),
        ([{"min": 5}, 7], "1", "7"),
        ([{"one_of": [0, 1, 2]}, {"max": 1}], "2", "0"),
        ([{"one_of": [0, 1]}, {"one_of": [1, 2]}], "0", "1"),
        ([7, "0x7"], "1", "7"),
        ([{"min": "1 2 3"}, {"min": "3 1 3"}], "0 0 9", "3 2 9"),
        ([None, 4], "1", "4"),
    ],
)
def test_wishes_that_agree_are_met_together(wishes: list[Any], live: str, becomes: str) -> None:
    parameter = one(wishes)
    assert not parameter.conflict
    assert " ".join(wanted_value(parameter, live.split())) == becomes


@pytest.mark.parametrize(
    "wishes",
    [
        [1, 2],
        [{"min": 5}, {"max": 4}],
        [{"min": 5}, 4],
        [{"one_of": [0, 1]}, 2],
        [{"min": "1 2"}, {"min": 1}],
        [1, 2, 3],
    ],
)
def test_wishes_that_cannot_be_met_together_are_a_conflict_that_changes_nothing(wishes: list[Any]) -> None:
    parameter = one(wishes)
    assert parameter.conflict
    assert wanted_value(parameter, ("77",)) == ("77",)
    assert not meets(parameter, ("77",))


def test_a_conflict_names_both_reasons_and_sources() -> None:
    wishes = [{"exactly": 1, "reason": "kubelet wants it", "source": "kubelet"}, {"exactly": 2, "reason": "database"}]
    assert one(wishes).conflict == "1 [kubelet wants it (kubelet)] against 2 [database]"
    assert one([1, 2]).conflict == "1 [no reason given] against 2 [no reason given]"


def test_two_spellings_are_two_wishes_and_a_wish_is_optional_only_when_all_are() -> None:
    found = parse_parameters({"a.b": {"min": 3, "reason": "x"}, "a/b": {"min": 4, "reason": "y"}, "-c.d": 1, "c/d": 1})
    assert [(p.key, p.low, p.reason, p.optional) for p in found] == [
        ("a.b", ("4",), "x; y", False),
        ("c.d", (), "", False),
    ]
    assert parse_parameters({"a.b": 1, "a/b": 2})[0].conflict


@given(
    bounds=st.lists(
        st.tuples(st.sampled_from(["min", "max", "exactly"]), st.integers(-20, 20)), min_size=1, max_size=4
    ),
    live=st.integers(-25, 25),
)
def test_several_wishes_are_what_brute_force_finds(bounds: list[tuple[str, int]], live: int) -> None:
    rules = {"min": lambda value, bound: value >= bound, "max": lambda value, bound: value <= bound}
    allowed = [v for v in range(-50, 51) if all(rules.get(form, int.__eq__)(v, bound) for form, bound in bounds)]
    parameter = one([{form: bound} for form, bound in bounds])
    assert bool(parameter.conflict) is not bool(allowed)
    if allowed:
        after = int(wanted_value(parameter, (str(live),))[0])
        assert after == min(allowed, key=lambda value: abs(value - live))
