"""From a module's arguments to a run."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _density_options as options_of
from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _density_plan as planning

from .fake_cluster import FakeCluster


def params(**given: t.Any) -> dict[str, t.Any]:
    defaults = {name: one.get("default") for name, one in options_of.argument_spec().items()}
    return {**defaults, "nodes": ["n1"], "pause_image": "p", "web_image": "e", **given}


def test_every_argument_arrives() -> None:
    found = options_of.options(params(workload="heavy", pods=40, rate=2.5, abort_floor_ms=250, seed=7, cpu="5m"), "r")
    assert (found.settings.workload, found.settings.cpu, found.settings.run, found.settings.nodes) == (
        "heavy",
        "5m",
        "r",
        ("n1",),
    )
    assert (found.wish.pods, found.rate, found.abort_floor, found.seed, found.pods_a_unit) == (40, 2.5, 0.25, 7, 2)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"rate": 0}, "rate is 0; it has to be more than 0"),
        ({"lease_seconds": -1}, "lease_seconds is -1"),
        ({"churn_percent": -1}, "churn_percent is -1; it cannot be less than 0"),
        ({"share": 1.2}, "share is 1.2; it is more than 0 and at most 1"),
        ({"memory": "8 mebibytes"}, "memory: '8 mebibytes' is no quantity"),
    ],
)
def test_what_makes_no_sense_is_refused(given: dict[str, t.Any], said: str) -> None:
    with pytest.raises(planning.PlanError) as error:
        options_of.options(params(**given), "r")
    assert said in str(error.value)


def test_all_of_it_at_once() -> None:
    with pytest.raises(planning.PlanError) as error:
        options_of.options(params(rate=0, share=0, cpu="x"), "r")
    assert len(error.value.reasons) == 3


def test_a_pod_outlives_its_run() -> None:
    assert (
        options_of.most_seconds(params(settle_seconds=600, churn_minutes=30, hold_seconds=900))
        > 3 * 600 + 30 * 60 + 900
    )


def test_nothing_to_clean() -> None:
    found = options_of.nothing_cleaned(FakeCluster(), [])  # type: ignore[arg-type]
    assert (found["left"], found["addresses"]) == ([], None)


def test_etcd_is_left_out_without_the_api_servers_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[t.Any] = []
    monkeypatch.setattr(options_of, "load_credentials", lambda *_given, **_more: "credentials")
    monkeypatch.setattr(options_of.reading, "Scraper", lambda *given: made.append(given))
    given = params(pki_dir=str(tmp_path), etcd_endpoints=["https://192.0.2.1:2379"])
    options_of.scraper(FakeCluster(), given)  # type: ignore[arg-type]
    (tmp_path / "etcd").mkdir()
    for name in ("etcd/ca.crt", "apiserver-etcd-client.crt", "apiserver-etcd-client.key"):
        (tmp_path / name).write_text(name)
    options_of.scraper(FakeCluster(), given)  # type: ignore[arg-type]
    assert [one[4] for one in made] == [
        None,
        (b"etcd/ca.crt", b"apiserver-etcd-client.crt", b"apiserver-etcd-client.key"),
    ]
