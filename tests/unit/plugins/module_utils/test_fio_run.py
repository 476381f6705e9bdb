"""_fio_run: fio is driven, what it wrote is gone however it ends, and results are remembered."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _fio as core
from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _fio_device as disks
from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _fio_run as run
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._fio_run import Request

COLLECTIONS = Path(__file__).resolve().parents[4] / ".ansible" / "collections"
RECORDED = Path(__file__).parent / "recorded"
# The module, with a lock of its own: two test runs on one machine are none of each other's business.
DRIVER = """
import sys
from dataclasses import replace
from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _fio_device as disks
from ansible_collections.bare_metal.kubernetes.plugins.modules import fio_qualification
observe, lock = disks.observe, sys.argv.pop()
disks.observe = lambda directory: replace(observe(directory), mount=replace(observe(directory).mount, path=lock))
fio_qualification.main()
"""

# Programs in the place of fio. They write to the file as fio does, so that there is something to leave behind.
ANSWER = """#!/bin/sh
[ "$1" = --version ] && { echo fio-3.33; exit; }
echo run >> {log}
cat {answer}
"""
SLEEPER = """#!/bin/sh
[ "$1" = --version ] && { echo fio-3.33; exit; }
echo $$ > {log}
exec sleep 600
"""


@pytest.fixture(name="disk")
def make_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that counts as a disk of its own, with a lock of its own, whatever this machine's temporary directory is on."""
    observe = disks.observe

    def here(directory: str) -> disks.Target:
        found = observe(directory)
        mount = disks.Mount(found.mount.device, str(tmp_path), "ext4", "/dev/sdz1", "rw")
        return disks.Target(directory, found.measured, found.kind, mount, 2**40, {"source": "/dev/sdz1"})

    monkeypatch.setattr(run.disks, "observe", here)
    (tmp_path / "disk").mkdir()
    return tmp_path / "disk"


Fake = Callable[..., Path]


@pytest.fixture(name="fake")
def make_fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Put a program in the place of fio; gives the file that it writes to when it runs."""

    def install(script: str, answer: str | Path = "") -> Path:
        programs = tmp_path / "bin"
        programs.mkdir(exist_ok=True)
        log = tmp_path / "log"
        if isinstance(answer, str):
            (tmp_path / "answer").write_text(answer)
            answer = tmp_path / "answer"
        text = script.replace("{log}", str(log)).replace("{answer}", str(answer))
        (programs / "fio").write_text(text)
        (programs / "fio").chmod(0o755)
        monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
        return log

    return install


def request(disk: Path, **values: Any) -> Request:
    return Request(str(disk), "quick", state_dir=str(disk.parent / "state"), **values)


def rest(disk: Path) -> list[str]:
    return sorted(os.listdir(disk))


# --- the whole way


def test_a_slow_disk_is_refused(disk: Path, fake: Fake) -> None:
    """The whole way with what fio 3.33 printed on a loop device that was throttled to 60 writes a second."""
    fake(ANSWER, RECORDED / "fio-3.33-slow.json")
    found = run.qualify(request(disk))
    assert found["verdict"] == "fail"
    assert "p99 of fdatasync is 106 ms" in found["reasons"][0]
    assert found["summary"]["recommended_heartbeat_interval_ms"] == 150
    assert not core.is_enough(found["verdict"], "pass")
    # A failure is remembered too: it is what a gate has to know.
    assert json.loads((disk.parent / "state" / run.RESULTS).read_text())["results"][str(disk)]["verdict"] == "fail"


def test_the_shape_that_is_remembered(disk: Path, fake: Fake) -> None:
    fake(ANSWER, RECORDED / "fio-3.33-loaded.json")
    before = time.time()
    found = run.qualify(request(disk))
    file = disk.parent / "state" / run.RESULTS
    assert file.stat().st_mode & 0o777 == 0o644
    remembered = json.loads(file.read_text())
    assert remembered["schema"] == 1
    (entry,) = remembered["results"].values()
    assert set(entry) == {"at", "profile", "verdict", "p99_ns", "reasons", "device", "kernel", "parameters", "windows"}
    assert entry["verdict"] == found["verdict"] == "good"
    assert before - 1 <= entry["at"] <= time.time()
    assert entry["kernel"] == os.uname().release
    assert len(entry["windows"]) == 3
    assert entry["windows"][0]["percentiles"]["99"] == entry["p99_ns"] == 1_269_760
    assert rest(disk) == []


def test_other_directories_stay_remembered(disk: Path, fake: Fake) -> None:
    fake(ANSWER, RECORDED / "fio-3.33-loaded.json")
    run.remember(str(disk.parent / "state"), "/other", {"verdict": "fail"})
    run.qualify(request(disk))
    assert set(run.results(str(disk.parent / "state"))) == {"/other", str(disk)}


@pytest.mark.parametrize(
    ("change", "runs"),
    [
        ({"max_age_seconds": 3600}, 3),
        ({"max_age_seconds": 0}, 6),
        ({"max_age_seconds": 3600, "limits": core.Limits(gate_ns=1)}, 6),
    ],
)
def test_a_result_is_reused_only_when_everything_is_the_same(
    disk: Path, fake: Fake, change: dict[str, Any], runs: int
) -> None:
    log = fake(ANSWER, RECORDED / "fio-3.33-loaded.json")
    first = run.qualify(request(disk))
    time.sleep(0.01)
    second = run.qualify(request(disk, **change))
    assert len(log.read_text().splitlines()) == runs
    assert second["reused"] is (runs == 3)
    if second["reused"]:
        assert {**second, "reused": False} == first


def test_a_directory_has_one_name(disk: Path, fake: Fake) -> None:
    fake(ANSWER, RECORDED / "fio-3.33-loaded.json")
    run.qualify(Request(f"{disk}/../disk/", "quick", state_dir=str(disk.parent / "state")))
    assert set(run.results(str(disk.parent / "state"))) == {str(disk)}
    assert run.qualify(request(disk, max_age_seconds=60))["reused"]


def test_check_mode_measures_nothing_and_says_so(disk: Path, fake: Fake) -> None:
    log = fake(ANSWER, RECORDED / "fio-3.33-loaded.json")
    found = run.qualify(request(disk), act=False)
    assert (found["verdict"], found["windows"]) == ("unmeasured", [])
    assert "check mode measures nothing" in found["reasons"][0]
    assert not log.exists()
    assert not (disk.parent / "state").exists()
    assert rest(disk) == []


def test_check_mode_shows_what_is_remembered(disk: Path, fake: Fake) -> None:
    fake(ANSWER, RECORDED / "fio-3.33-loaded.json")
    run.qualify(request(disk))
    found = run.qualify(request(disk, max_age_seconds=60), act=False)
    assert (found["verdict"], found["reused"]) == ("good", True)


def test_what_is_refused_is_not_measured_and_not_remembered(
    disk: Path, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = fake(ANSWER, RECORDED / "fio-3.33-loaded.json")
    mount = disks.Mount("0:5", "/", "tmpfs", "tmpfs", "rw")
    target = disks.Target(str(disk), str(disk), "directory", mount, 2**40, {})
    monkeypatch.setattr(run.disks, "observe", lambda _directory: target)
    found = run.qualify(request(disk))
    assert found["verdict"] == "refused"
    assert "tmpfs" in found["reasons"][0]
    assert not log.exists()
    assert run.results(str(disk.parent / "state")) == {}
    assert run.qualify(request(disk, allow_filesystems=("tmpfs",)))["verdict"] == "good"


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("#!/bin/sh\necho fio-3.3\n", "fio 3.4 or newer is needed"),
        (
            "#!/bin/sh\n[ $1 = --version ] && { echo fio-3.33; exit; }\necho 'fio: no space' >&2; exit 1\n",
            "exit code 1: fio: no space",
        ),
        (
            "#!/bin/sh\n[ $1 = --version ] && { echo fio-3.33; exit; }\necho 'fio: engine x not loadable'\n",
            "engine x not loadable",
        ),
    ],
)
def test_a_fio_that_fails_is_an_error_and_nothing_is_remembered(
    disk: Path, fake: Fake, script: str, reason: str
) -> None:
    fake(script)
    found = run.qualify(request(disk))
    assert found["verdict"] == "error"
    assert reason in found["reasons"][0]
    assert rest(disk) == []
    assert run.results(str(disk.parent / "state")) == {}


def test_a_missing_fio_is_an_error_that_says_so(disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    found = run.qualify(request(disk))
    assert (found["verdict"], "'fio' is not installed" in found["reasons"][0]) == ("error", True)


def test_a_second_measurement_is_refused_while_one_goes_on(disk: Path, fake: Fake) -> None:
    log = fake(ANSWER, RECORDED / "fio-3.33-loaded.json")
    descriptor = os.open(disk.parent, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        found = run.qualify(request(disk))
    finally:
        os.close(descriptor)
    assert found["verdict"] == "refused"
    assert "another measurement" in found["reasons"][0]
    assert not log.exists()
    assert run.qualify(request(disk))["verdict"] == "good", "the lock ends with its holder"


# --- files


def test_files_have_no_name_and_nobody_else_may_enter(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    unlink = os.unlink

    def watched(path: str) -> None:
        seen.append((os.stat(os.path.dirname(path)).st_mode & 0o777, os.stat(path).st_mode & 0o777))
        unlink(path)

    monkeypatch.setattr(run.os, "unlink", watched)
    with run.scratch(str(disk), ["commit", "reader"]) as files:
        assert rest(disk) == []
        run.preallocate(files["commit"], core.MIB)
        assert os.fstat(files["commit"]).st_size == core.MIB
        assert os.fstat(files["commit"]).st_blocks * 512 >= core.MIB
        assert os.path.samestat(os.stat(run.descriptor_path(files["commit"])), os.fstat(files["commit"]))
    assert seen == [(0o700, 0o600)] * 2
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(files["commit"])


def test_what_a_killed_run_left_is_removed_and_nothing_else(disk: Path) -> None:
    (disk / f"{run.PREFIX}abc").mkdir()
    (disk / f"{run.PREFIX}abc" / "commit").write_text("x")
    (disk / "member").mkdir()
    (disk / f"{run.PREFIX}link").symlink_to("member")
    with run.scratch(str(disk), ["commit"]):
        pass
    assert rest(disk) == [f"{run.PREFIX}link", "member"]


def test_the_readers_file_has_content(disk: Path) -> None:
    sizes = {"writer": core.MIB, "reader": 2 * core.MIB}
    with run.scratch(str(disk), sizes) as files:
        run.fill(files, sizes)
        assert os.fstat(files["reader"]).st_size == 2 * core.MIB
        os.lseek(files["reader"], 0, os.SEEK_SET)
        first = os.read(files["reader"], core.MIB)
        assert first != os.read(files["reader"], core.MIB), "a disk that compresses must not make it small"


# --- ends


def children_of(process: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def wait_for(what: Callable[[], Any], seconds: float = 20.0) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.02)
    raise AssertionError(f"{what} did not come true")


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture(name="measuring")
def start_measuring(tmp_path: Path, fake: Fake) -> Iterator[tuple[subprocess.Popen[str], Path, int]]:
    """The module as a process of its own, with a fio that does not end: the process, the disk, and fio's process."""
    log = fake(SLEEPER)
    disk = tmp_path / "disk"
    disk.mkdir()
    arguments = {"directory": str(disk), "profile": "quick", "allow_live": True, "state_dir": str(tmp_path / "state")}
    arguments["allow_filesystems"] = ["tmpfs", "overlay"]
    (tmp_path / "arguments.json").write_text(json.dumps({"ANSIBLE_MODULE_ARGS": arguments}))
    with subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(tmp_path / "arguments.json"), str(tmp_path)],
        cwd=COLLECTIONS,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            wait_for(lambda: process.poll() is not None or (log.exists() and log.read_text().strip()))
            if process.poll() is not None:
                raise AssertionError("".join(process.communicate()))
            yield process, disk, int(log.read_text())
        finally:
            process.kill()


Measuring = tuple[subprocess.Popen[str], Path, int]


def open_files_on(disk: Path, process: int) -> list[str]:
    """Names of the files below a directory that a process has open, those without a name included."""
    links = [os.readlink(path) for path in Path(f"/proc/{process}/fd").iterdir()]
    return [link for link in links if link.startswith(str(disk))]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_and_leaves_nothing(measuring: Measuring, number: signal.Signals) -> None:
    process, disk, fio = measuring
    assert any(link.endswith("(deleted)") for link in open_files_on(disk, fio)), "fio has the file, and it has no name"
    process.send_signal(number)
    stdout, _stderr = process.communicate(timeout=20)
    answer = json.loads(stdout)
    assert answer["failed"]
    assert f"stopped by {number.name}" in answer["msg"]
    wait_for(lambda: not is_alive(fio))
    assert rest(disk) == []


def test_a_kill_takes_fio_along_and_leaves_nothing(measuring: Measuring) -> None:
    """SIGKILL cannot be handled: the files are gone because they have no name, fio because it is told to die with its parent."""
    process, disk, fio = measuring
    process.kill()
    process.wait(20)
    wait_for(lambda: not is_alive(fio))
    assert rest(disk) == []


def test_a_caller_that_is_gone_ends_it(measuring: Measuring) -> None:
    """A play that was killed: ssh closes the pipe and sends no signal."""
    process, disk, fio = measuring
    assert process.stdout is not None
    process.stdout.close()
    process.wait(20)
    assert not is_alive(fio)
    assert rest(disk) == []


def test_a_disk_that_hangs_ends_in_an_error(disk: Path, fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    log = fake(SLEEPER)
    monkeypatch.setattr(run, "GRACE_SECONDS", -59.5)
    monkeypatch.setattr(run, "LOOK_SECONDS", 0.05)
    found = run.qualify(request(disk))
    assert found["verdict"] == "error"
    assert "window 1 of 3 (2300 B): fio did not end within 0.5 s" in found["reasons"][0]
    assert not is_alive(int(log.read_text()))
    assert rest(disk) == []


def test_handlers_of_signals_come_back() -> None:
    before = [signal.getsignal(number) for number in run.SIGNALS]
    with run.ended_by_signals():
        assert signal.getsignal(signal.SIGTERM) not in before
    assert [signal.getsignal(number) for number in run.SIGNALS] == before


def test_a_pipe_without_a_reader_is_noticed() -> None:
    reading, writing = os.pipe()
    assert not run.caller_is_gone(writing)
    os.close(reading)
    assert run.caller_is_gone(writing)
    os.close(writing)
    with open(os.devnull, "w") as nowhere:
        assert not run.caller_is_gone(nowhere.fileno())


# --- the real fio


@pytest.mark.skipif(not shutil.which("fio"), reason="fio is not installed")
def test_the_real_fio_writes_into_files_without_a_name(disk: Path) -> None:
    """Two short windows, the second under load, so that fio's options and the parser are true to the fio that is here."""
    sizes = {"commit": core.MIB, "writer": 4 * core.MIB, "reader": 4 * core.MIB}
    runs = [core.Run(2300, 5, once=True), core.Run(8000, 1, loaded=True)]
    target = run.disks.observe(str(disk))
    plain, loaded = run.measure(target, runs, sizes, core.Limits())
    assert plain.samples == core.MIB // 2300, "one commit for each write"
    assert loaded.samples > 0
    for window in (plain, loaded):
        assert set(window.percentiles) == set(core.PERCENTILES)
        assert 0 < window.percentiles["50"] <= window.p99_ns
        assert window.seconds > 0
    assert rest(disk) == []
