"""A run that is killed at any moment is mended by the next one, without manual work."""

from __future__ import annotations

import re

from . import runner

#: how many kills are spread over the tasks of a first run
KILLS = 7


def test_runs_killed_all_over_the_first_installation_are_mended_by_the_next() -> None:
    """From bare machines: each run is killed at a later task than the one before, the last one runs to its end."""
    assert runner.play("reset", "-e", "reset_confirm=bmk").rc == 0
    listed = runner.play("site", "--list-tasks").output
    total = len(re.findall(r"^ {6}\S.*TAGS:", listed, re.MULTILINE))
    assert total > KILLS
    reached = []
    for number in range(1, KILLS + 1):
        run = runner.play("site", kill_at_task=max(2, number * total // (KILLS + 1)))
        assert run.rc < 0, f"the run ended by itself: {run.output}"
        reached.append(run.tasks[-1])
    assert len(set(reached)) == KILLS, reached
    last = runner.play("site")
    assert last.rc == 0, f"after kills at {reached}:\n{last.output}"
    assert ", 0 failed" in last.output
    once_more = runner.play("site")
    assert once_more.changed() == {}, once_more.output


def test_a_kubeadm_init_cut_in_the_middle_is_finished_by_the_next_run() -> None:
    """The node's own process is killed, not the controller's: half of the files are there, nothing runs."""
    assert runner.play("reset", "-e", "reset_confirm=bmk").rc == 0
    cut = []

    def cut_init(_begun: int) -> None:
        if not cut and "killed" in runner.on(
            "cp1", "sh -c 'pkill -KILL -x kubeadm && echo killed || true'", check=False
        ):
            cut.append(True)

    broken = runner.play("site", watch=cut_init)
    assert cut, "kubeadm was never seen running on cp1"
    assert broken.rc != 0
    mended = runner.play("site")
    assert mended.rc == 0, mended.output
    assert ", 0 failed" in mended.output
    assert runner.play("site").changed() == {}
