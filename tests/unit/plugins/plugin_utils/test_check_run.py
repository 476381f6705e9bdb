"""What a run in check mode printed."""

from __future__ import annotations

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import check_run

OUTPUT = """
DRY RUN ************************************************************************

PLAY [Prepare every machine] [CHECK MODE] **************************************

TASK [kernel_tuning : Configure | Apply the parameters] [CHECK MODE] ***********
--- before: /etc/sysctl.d/99.conf
+++ after: /etc/sysctl.d/99.conf
@@ -1 +1 @@
-changed: [not a host] of a diff
+PLAY RECAP **** of a diff
 changed: [context]

changed: [cp1]
ok: [worker1]

TASK [control_plane : Run | Say [more]] [CHECK MODE] ***************************
changed: [cp1 -> cp2(192.0.2.12)]
changed: [worker1] => (item=a)
changed: [worker1] => (item=b)
fatal: [cp3]: UNREACHABLE! => {"changed": false, "msg": "no route", "unreachable": true}

RUNNING HANDLER [x : Restart] [CHECK MODE] *************************************
changed: [worker1]

PLAY RECAP *********************************************************************
cp1                        : ok=2    changed=2    unreachable=0    failed=0    skipped=0    rescued=0    ignored=0
cp3                        : ok=0    changed=0    unreachable=1    failed=0    skipped=0    rescued=0    ignored=0
localhost                  : ok=1    changed=0    unreachable=0    failed=0    skipped=0    rescued=0    ignored=0
worker1                    : ok=3    changed=2    unreachable=0    failed=1    skipped=0    rescued=0    ignored=0


DRY RUN ************************************************************************
"""


def test_tasks_by_host() -> None:
    hosts = check_run.parse(OUTPUT)["hosts"]
    assert hosts["cp1"] == {
        "changed": 2,
        "failed": False,
        "unreachable": False,
        "tasks": [
            "kernel_tuning : Configure | Apply the parameters",
            "control_plane : Run | Say [more] (on cp2)",
        ],
    }
    assert hosts["worker1"]["tasks"] == ["control_plane : Run | Say [more]", "x : Restart"]
    assert hosts["worker1"]["failed"]
    assert hosts["cp3"]["unreachable"]
    assert hosts["localhost"]["changed"] == 0
    assert list(hosts) == ["cp1", "cp3", "localhost", "worker1"]


def test_a_task_that_two_plays_share_is_counted_twice_and_one_with_items_once() -> None:
    again = """
PLAY [Join the others] [CHECK MODE] ********************************************

TASK [kernel_tuning : Configure | Apply the parameters] [CHECK MODE] ***********
changed: [cp1] => (item=a)
changed: [cp1] => (item=b)

PLAY RECAP ****"""
    text = OUTPUT.replace("\nPLAY RECAP ****", again, 1).replace(
        "changed=2    unreachable=0    failed=0", "changed=3    unreachable=0    failed=0", 1
    )
    row = check_run.parse(text)["hosts"]["cp1"]
    assert row["tasks"] == [
        "kernel_tuning : Configure | Apply the parameters",
        "control_plane : Run | Say [more] (on cp2)",
        "kernel_tuning : Configure | Apply the parameters (again in Join the others)",
    ]
    assert row["changed"] == len(row["tasks"])


def test_colours_are_no_part_of_it() -> None:
    coloured = OUTPUT.replace("changed: [cp1]", "\x1b[0;33mchanged: [cp1]\x1b[0m")
    assert check_run.parse(coloured) == check_run.parse(OUTPUT)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no PLAY RECAP"),
        (OUTPUT.partition("\nPLAY RECAP *****")[0], "no PLAY RECAP"),
        (OUTPUT.replace("] [CHECK MODE]", "]"), r"'PLAY \[Prepare every machine\]' has no mark of check mode"),
        (OUTPUT.replace("parameters] [CHECK MODE]", "parameters]"), "'TASK .* has no mark of check mode"),
        ("PLAY RECAP *****\n", "no host"),
        ("not what you think\x00\x1b[31m" * 1000, "no PLAY RECAP"),
    ],
)
def test_other_texts_are_refused(text: str, words: str) -> None:
    with pytest.raises(check_run.CheckRunError, match=words):
        check_run.parse(text)


def test_a_text_of_any_length_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_run, "MOST_CHARACTERS", 10)
    with pytest.raises(check_run.CheckRunError, match="longer than 10"):
        check_run.parse(OUTPUT)


def row(changed: int, *tasks: str, **more: bool) -> dict[str, object]:
    return {"changed": changed, "failed": False, "unreachable": False, "tasks": list(tasks), **more}


def test_hosts_with_the_same_to_do_are_one_line_and_trouble_comes_first() -> None:
    hosts = {
        **{f"w{number}": row(2, "a", "b") for number in range(1, 4)},
        "cp1": row(0),
        "cp2": row(3, "a", "b", "c"),
        "cp3": row(0, unreachable=True),
        "w4": row(1, "a", failed=True),
    }
    assert [(one.hosts, one.words) for one in check_run.alike(hosts)] == [
        (("w4",), "1 task would change something, failed"),
        (("cp3",), "nothing would change, unreachable"),
        (("cp2",), "3 tasks would change something"),
        (("w1", "w2", "w3"), "2 tasks would change something"),
        (("cp1",), "nothing would change"),
    ]
    assert check_run.summary(hosts) == "5 of 7 hosts would change, in 3 tasks."
    assert check_run.summary({"cp1": row(0)}) == "Nothing would change on 1 host."
