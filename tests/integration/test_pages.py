"""HTML reports as a reader sees them: in a real browser, on a wide and a narrow screen, in light and dark."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [
    str(ROOT / ".ansible" / "collections"),
    str(Path(__file__).resolve().parent),
    str(ROOT / "tests/unit/plugins/plugin_utils"),
]
import density_result  # noqa: E402
from browser import Browser  # noqa: E402

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _fio  # noqa: E402  # after the path to it
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import (  # noqa: E402
    density_page,
    density_report,
    disk_report,
)

SCREENS = [(1280, False), (1280, True), (390, False), (390, True)]
SCREEN_NAMES = ["wide-light", "wide-dark", "narrow-light", "narrow-dark"]
PLAN = "bare_metal.kubernetes.plan"
MS = 1_000_000
PLANS: dict[str, list[str]] = {
    "lab": [],
    "minimal": [],
    "high_density": ["-e", "cluster_planned_nodes=60", "-e", "cluster_surge_nodes=2"],
}


# As the default callback prints it with check mode markers on: a pool of hosts with the same to do, one that failed, one that was not reached.
CHECKED = """
PLAY [Prepare every node] [CHECK MODE] *****************************************

TASK [bare_metal.kubernetes.kernel_tuning : Configure | Apply the kernel parameters] [CHECK MODE] ***
{changed}

TASK [bare_metal.kubernetes.kubelet : Configure | Install the kubelet's configuration and start it] [CHECK MODE] ***
{changed}
fatal: [server1]: FAILED! => {{"changed": false, "msg": "no space"}}

PLAY RECAP *********************************************************************
{recap}
server1                    : ok=3    changed=0    unreachable=0    failed=1    skipped=0    rescued=0    ignored=0
server2                    : ok=0    changed=0    unreachable=1    failed=0    skipped=0    rescued=0    ignored=0
server3                    : ok=9    changed=0    unreachable=0    failed=0    skipped=0    rescued=0    ignored=0
"""


def check_run() -> str:
    names = [f"worker-{number}.rack-{number % 7}.example.org" for number in range(60)]
    recap = "\n".join(f"{name} : ok=9    changed=2    unreachable=0    failed=0    skipped=0" for name in names)
    return CHECKED.format(changed="\n".join(f"changed: [{name}]" for name in names), recap=recap)


def named(shown: Any) -> dict[str, dict[str, Any]]:
    """The pictures that say what they show; others are the signs of a legend."""
    return {picture["label"]: picture for picture in shown.audit["pictures"] if picture["label"]}


# --- the capacity plan


@pytest.fixture(scope="module")
def plans(run: Callable[..., Any], root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The page of every shipped inventory, as the playbook writes it."""
    directory = tmp_path_factory.mktemp("plans")
    found = {}
    for name, more in PLANS.items():
        found[name] = directory / f"{name}.html"
        arguments = ["-e", f"capacity_plan_html_path={found[name]}", *more]
        env = {"ANSIBLE_CONFIG": str(root / "ansible.cfg")}
        run("ansible-playbook", "-i", root / "inventories" / name, PLAN, *arguments, env=env)
    return found


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize(("width", "dark"), SCREENS, ids=SCREEN_NAMES)
def test_a_plan_can_be_read(reader: Browser, plans: dict[str, Path], name: str, width: int, dark: bool) -> None:
    shown = reader.show(plans[name], width, dark=dark)
    assert shown.findings == []
    assert shown.audit["texts"] > 300
    assert shown.picture.startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("name", "squares", "blocks_label"),
    [
        ("lab", {"control_plane: 2 nodes": 2, "control_plane: 1 node ": 1, "workers: 1 node ": 1}, "10.244.0.0/16"),
        ("minimal", {"control_plane: 3 nodes": 3}, "10.244.0.0/16"),
        ("high_density", {"control_plane: 2 nodes": 2, "control_plane: 1 node ": 1, "dense: 2 nodes": 2}, "10.128.0.0/14"),
    ],
)  # fmt: skip
def test_the_pictures_of_a_plan_show_racks_blocks_and_headroom(
    reader: Browser, plans: dict[str, Path], name: str, squares: dict[str, int], blocks_label: str
) -> None:
    wide, narrow = (named(reader.show(plans[name], width, unfold=False)) for width in (1280, 390))
    for beginning, count in squares.items():
        (picture,) = {
            json.dumps(picture): picture for label, picture in wide.items() if label.startswith(beginning)
        }.values()
        assert picture["squares"] == count
        assert picture["smallest"] >= 12, "a node can be seen and pointed at"
    (blocks,) = [picture for label, picture in wide.items() if label.startswith(blocks_label)]
    losses = [picture for label, picture in wide.items() if label.startswith("without ")]
    assert len(losses) == (1 if name == "minimal" else 2)
    for picture in (blocks, *losses):
        assert picture["width"] > 1000
        assert picture["height"] > 20
        assert picture["shapes"] >= 2
    (small,) = [picture for label, picture in narrow.items() if label.startswith(blocks_label)]
    assert 300 < small["width"] <= 390
    assert small["height"] == blocks["height"]


@pytest.mark.parametrize(("width", "dark"), SCREENS, ids=SCREEN_NAMES)
def test_what_a_run_would_change_can_be_read(
    reader: Browser, run: Callable[..., Any], root: Path, tmp_path: Path, width: int, dark: bool
) -> None:
    page, checked = tmp_path / "plan.html", tmp_path / "site.txt"
    checked.write_text(check_run())
    arguments = ["-e", f"capacity_plan_html_path={page}", "-e", f"capacity_plan_site_check_path={checked}"]
    env = {"ANSIBLE_CONFIG": str(root / "ansible.cfg")}
    done = run("ansible-playbook", "-i", root / "inventories" / "minimal", PLAN, *arguments, env=env)
    assert "60 of 63 hosts would change, in 2 tasks." in done.stdout
    assert "worker-9.rack-2.example.org: 2 tasks" not in done.stdout, "one line for all that have the same to do"
    assert reader.show(page, width, dark=dark).findings == []
    words = page.read_text(encoding="utf-8")
    assert "60 of 63 hosts would change, in 2 tasks." in words
    assert "nothing would change, unreachable" in words
    assert words.count("2 tasks would change something") == 1


# --- the report over disks


def disk(p99_ms: float) -> dict[str, Any]:
    """What fio_qualification returns for a disk whose last window of eight has this p99."""
    windows = [
        _fio.Window(
            size, False, 10_000, 20.0, 2e5, int(p99 * 4 * MS),
            {"50": int(p99 * MS / 4), "90": int(p99 * MS / 2), "99": int(p99 * MS), "99.9": int(p99 * 2 * MS)}, 150 if p99 >= 10 else 0,
        )
        for size in (2300, 8000) for p99 in (0.2, 0.3, 0.25, p99_ms)
    ]  # fmt: skip
    verdict = _fio.judge(windows, _fio.Limits())
    chain = [
        {"name": "nvme0n1", "kind": "disk", "model": "SAMSUNG MZQL23T8HCLS-00A07", "rotational": False, "scheduler": "none", "write_cache": "write back"}
    ]  # fmt: skip
    return {
        "verdict": verdict.verdict, "reasons": list(verdict.reasons), "p99_ns": verdict.p99_ns, "summary": dict(verdict.summary),
        "windows": [_fio.as_data(window) for window in windows], "profile": "standard", "reused": False,
        "device": {"filesystem": "ext4", "mount": "/var/lib/etcd", "source": "/dev/nvme0n1", "chain": chain},
    }  # fmt: skip


@pytest.fixture(scope="module")
def disks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good, slow and missing disks, on more hosts than there are colours."""
    found = {f"etcd{number}.rack{number}.site.example.org": disk(0.3 * number) for number in range(1, 9)}
    rows = disk_report.judge({**found, "slow": disk(24), "missing": {"msg": "fio was not found"}}, "pass")
    path = tmp_path_factory.mktemp("disks") / "disks.html"
    path.write_text(disk_report.page(rows, 10), encoding="utf-8")
    return path


@pytest.mark.parametrize(("width", "dark"), SCREENS, ids=SCREEN_NAMES)
def test_the_report_over_disks_can_be_read(reader: Browser, disks: Path, width: int, dark: bool) -> None:
    shown = reader.show(disks, width, dark=dark)
    assert shown.findings == []
    plots = named(shown)
    assert len(plots) == 2
    for picture in plots.values():
        assert picture["width"] >= 600
        assert picture["height"] > 250
        assert picture["shapes"] > 9 * 5, "points and lines of nine disks"


# --- the browser finds what a page must not have

BAD = {
    "a script that fails": ("<script>nowhere()</script>", "script: Uncaught"),
    "a picture from elsewhere": ('<img alt="x" src="http://192.0.2.1/x.png">', "asked for http://192.0.2.1/x.png"),
    "a style from elsewhere": ('<link rel="stylesheet" href="http://192.0.2.1/x.css">', "asked for http://192.0.2.1/x.css"),
    "a page that is too wide": ('<div style="width:2000px">wide</div>', "the page is"),
    "text that is cut": ('<div style="width:60px;overflow:hidden;white-space:nowrap">a long line of text</div>', "text is cut"),
    "text over text": ('<p>under</p><p style="position:relative;top:-2.2em">over</p>', "texts overlap"),
    "text that is too small": ('<p style="font-size:7px">tiny</p>', "text of 7.0 px"),
    "text in a picture that is scaled down": ('<svg viewBox="0 0 4000 400" width="100%"><text x="9" y="50" font-size="16">tiny</text></svg>', "text of"),
    "text that is too pale": ('<p style="color:#bbb;background:#fff">pale</p>', "contrast"),
    "words broken in a narrow column": ('<div style="width:30px;overflow-wrap:anywhere">kubelet</div>', 'the word "kubelet" is broken'),
    "a picture without a size": ('<svg width="0" height="0" aria-label="gone"></svg>', "a picture without a size: gone"),
    "a shape beyond its picture": (
        '<svg width="50" height="50" viewBox="0 0 50 50" style="overflow:visible" aria-label="box"><rect width="90" height="9"/></svg>',
        "a shape leaves its picture",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_a_page_must_not_have_is_found(reader: Browser, tmp_path: Path, name: str) -> None:
    body, words = BAD[name]
    page = tmp_path / "page.html"
    page.write_text(f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>x</title></head><body>{body}')
    assert any(words in finding for finding in reader.show(page, 600).findings), reader.show(page, 600).findings


def test_a_good_page_has_no_findings(reader: Browser, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>x</title></head><body><p>fine</p>'
    )
    shown = reader.show(page, 600)
    assert shown.findings == []
    assert shown.audit["texts"] == 1


# --- the density report


@pytest.fixture(scope="module")
def densities(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run that passed with all phases, and one that failed with long reasons, beside each other."""
    good, bad = density_result.result(), density_result.result()
    good["restart"] = {
        "node": "n1",
        "wanted": 40,
        "returned": 40,
        "seconds": 21.0,
        "course": [[0.5, 0], [10.0, 12], [21.0, 40]],
    }
    good["drain"] = {"node": "n1", "wanted": 40, "evicted": 40, "refused": 0, "elsewhere": 40, "seconds": 33.0}
    said = "web-00001: FailedCreatePodSandBox failed to setup network for sandbox: Assigned 0 out of 1 requested IPv4 addresses"
    bad["benchmark"].update(
        ready_now=2, failures={"pod addresses": {"pods": 38, "example": said}}, warnings={"FailedCreatePodSandBox": 190}
    )
    directory = tmp_path_factory.mktemp("density")
    found = {}
    earlier = None
    for name, result in (("good", good), ("bad", bad)):
        report = density_report.build(
            result, "lab", {**density_result.SETTINGS, "rate": 2.0 if name == "good" else 4.0}, {}, earlier
        )
        earlier = earlier or report
        found[name] = directory / f"{name}.html"
        found[name].write_text(density_page.page(report), encoding="utf-8")
    return found


@pytest.mark.parametrize("name", ["good", "bad"])
@pytest.mark.parametrize(("width", "dark"), SCREENS, ids=SCREEN_NAMES)
def test_a_density_report_can_be_read(
    reader: Browser, densities: dict[str, Path], name: str, width: int, dark: bool
) -> None:
    shown = reader.show(densities[name], width, dark=dark)
    assert shown.findings == []
    plots = named(shown)
    assert len(plots) == (9 if name == "good" else 8)
    for picture in plots.values():
        assert picture["width"] >= 600
        assert picture["shapes"] >= 2
