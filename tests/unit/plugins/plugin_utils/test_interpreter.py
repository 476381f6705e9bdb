"""The interpreter that waits on a host between tasks: the real programs are run here, over a real socket."""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.plugins.action import ActionBase

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _interpreter_call as caller
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import interpreter

ROOT = Path(__file__).resolve().parents[4]


BUILD = """
import sys
from ansible.plugins.loader import init_plugin_loader
init_plugin_loader()
from ansible.executor.module_common import modify_module
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
built = modify_module(
    module_name="bare_metal.kubernetes.node_probe",
    module_path=sys.argv[1],
    module_args={"urls": {"nobody": "http://127.0.0.1:9/"}, "timeout_seconds": 0.2},
    templar=Templar(loader=DataLoader()),
    task_vars={"ansible_python_interpreter": sys.executable},
    module_compression="ZIP_DEFLATED",
    async_timeout=0,
    environment={},
    remote_is_local=False,
    become_plugin=None,
)
sys.stdout.buffer.write(built.b_module_data)
"""


@pytest.fixture(scope="module")
def payload() -> bytes:
    """What ansible-core itself would send for a module of ours; built in a process with Ansible's own import machinery."""
    link = ROOT / ".ansible/collections/ansible_collections/bare_metal/kubernetes/plugins/modules/node_probe.py"
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    argv = [sys.executable, "-c", BUILD, str(link)]
    return subprocess.run(argv, capture_output=True, check=True, timeout=120, env=environment, cwd=ROOT).stdout


@pytest.fixture(scope="module")
def call(payload: bytes) -> interpreter.Call:
    found = interpreter.call_of(payload)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def pack(call: interpreter.Call) -> interpreter.Pack:
    return interpreter.make_pack(base64.b64decode(call.archive))


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A short one: a socket's path has at most 107 characters."""
    with tempfile.TemporaryDirectory(prefix="interp") as name:
        yield Path(name)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """Run a program as the connection does, on its standard input; interpreters that it leaves are ended."""
    folder = tmp_path / "run" / "interpreter"

    def start(script: bytes, **environment: str) -> subprocess.CompletedProcess[str]:
        text = script.decode().replace(f'"{caller.FOLDER}"', repr(str(folder)))
        clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        return subprocess.run(
            [sys.executable, "-I", "-"],
            input=text,
            env={**clean, **environment, "MARK": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    yield start
    for process in serving(tmp_path):
        os.kill(process, signal.SIGKILL)


def serving(mark: Path) -> list[int]:
    """The processes that were started with this mark in their environment: interpreters, and the modules that they run."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"MARK={mark}\0".encode() in (process / "environ").read_bytes():
                found.append(int(process.name))
        except OSError:
            continue
    return found


def observed(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)["observation"]


def test_a_payload_of_ansible_is_read(call: interpreter.Call) -> None:
    assert call.module == interpreter.OURS + "node_probe"
    assert json.loads(call.params)["ANSIBLE_MODULE_ARGS"]["urls"] == {"nobody": "http://127.0.0.1:9/"}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(b"bare_metal.kubernetes.plugins.modules", b"other.things.plugins.modules", id="not-ours"),
        pytest.param(b"\nextensions={}", b"\nextensions={'coverage': {}}", id="with-an-extension"),
        pytest.param(b"\nrlimit_nofile=0", b"\nrlimit_nofile=1024", id="with-a-limit"),
        pytest.param(b"\nprofile=", b"\nprofile=secret_name or ", id="not-plain-values"),
        pytest.param(b"\nparams=", b"\nparameters=", id="another-form"),
        pytest.param(b"_ansiballz_main(", b"_other_main(", id="another-wrapper"),
    ],
)
def test_what_is_not_understood_is_left_to_ansible(payload: bytes, old: bytes, new: bytes) -> None:
    assert old in payload
    assert interpreter.call_of(payload.replace(old, new)) is None


def test_nothing_at_all_is_no_call() -> None:
    assert interpreter.call_of(None) is None
    assert interpreter.call_of(b"#!/bin/sh\n") is None


def test_the_same_files_make_the_same_pack(call: interpreter.Call, pack: interpreter.Pack) -> None:
    again = interpreter.make_pack(base64.b64decode(call.archive))
    assert again.digest == pack.digest
    assert again.data == pack.data
    names = zipfile.ZipFile(io.BytesIO(pack.data)).namelist()
    modules = {path.name for path in (interpreter.PLUGINS / "modules").glob("*.py")}
    assert modules <= {name.rpartition("/")[2] for name in names if "/plugins/modules/" in name}
    assert "ansible/module_utils/basic.py" in names
    assert len(names) == len(set(names))


def test_another_file_makes_another_pack(call: interpreter.Call, pack: interpreter.Pack, tmp_path: Path) -> None:
    for folder in ("modules", "module_utils"):
        (tmp_path / folder).mkdir()
    (tmp_path / "modules" / "node_probe.py").write_text("print(1)\n", encoding="utf-8")
    assert interpreter.make_pack(base64.b64decode(call.archive), tmp_path).digest != pack.digest


def test_a_run_makes_its_pack_once(call: interpreter.Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = interpreter.pack_of_run(call.archive, tmp_path)
    monkeypatch.setattr(interpreter, "make_pack", lambda archive: pytest.fail("made twice"))
    assert interpreter.pack_of_run(call.archive, tmp_path) == first
    assert [path.suffix for path in tmp_path.iterdir()] == [".zip"]


def test_nobody_waits_at_first_and_nothing_is_run(
    run: Any, call: interpreter.Call, pack: interpreter.Pack, tmp_path: Path
) -> None:
    done = run(interpreter.ask_script(pack.digest, call.request))
    assert (done.returncode, done.stdout, done.stderr) == (0, caller.ABSENT, "")
    assert not (tmp_path / "run").exists()


def test_an_interpreter_is_left_behind_and_answers_later_calls(
    run: Any, call: interpreter.Call, pack: interpreter.Pack, tmp_path: Path
) -> None:
    assert observed(run(interpreter.serve_script(pack, call.request, 30)))["urls"]["nobody"]["ok"] is False
    for _rest in range(3):
        assert observed(run(interpreter.ask_script(pack.digest, call.request)))["urls"]["nobody"]["ok"] is False
    folder = tmp_path / "run" / "interpreter"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert folder.parent.stat().st_mode & 0o777 == 0o700
    assert len(list(folder.glob("*.sock"))) == 1


def test_a_module_has_the_callers_environment_and_output(run: Any, pack: interpreter.Pack, tmp_path: Path) -> None:
    """``_ansible_no_log`` and the rest arrive as always; what fails says so with its exit code, on its own streams."""
    request = {
        "module": interpreter.OURS + "node_probe",
        "profile": "legacy",
        "params": json.dumps({"ANSIBLE_MODULE_ARGS": {"unknown": 1}}),
    }
    done = run(interpreter.serve_script(pack, request, 30), LC_ALL="C")
    assert done.returncode == 1
    assert "unknown" in json.loads(done.stdout)["msg"]
    broken = run(interpreter.ask_script(pack.digest, {**request, "module": interpreter.OURS + "not_there"}))
    assert broken.returncode == 1
    assert "not_there" in broken.stdout + broken.stderr


def test_a_module_that_is_killed_fails(run: Any, pack: interpreter.Pack, tmp_path: Path) -> None:
    """The socket closes without an exit code."""
    script = f"""
import os
{interpreter._source(caller)}
class Dead:
    def sendmsg(self, *a): pass
    def sendall(self, *a): pass
    def settimeout(self, *a): pass
    def recv(self, *a): return b""
    def __enter__(self): return self
    def __exit__(self, *a): pass
sys.exit(ask(Dead(), {{}}))
""".replace("from __future__ import annotations", "")
    done = run(script.encode())
    assert done.returncode == caller.KILLED
    assert "killed" in done.stderr


def test_it_ends_when_nobody_calls_and_tidies_up(
    run: Any, call: interpreter.Call, pack: interpreter.Pack, tmp_path: Path
) -> None:
    observed(run(interpreter.serve_script(pack, call.request, 0.5)))
    folder = tmp_path / "run" / "interpreter"
    until = time.monotonic() + 30
    while list(folder.iterdir()) and time.monotonic() < until:
        time.sleep(0.1)
    assert not list(folder.iterdir())
    assert run(interpreter.ask_script(pack.digest, call.request)).stdout == caller.ABSENT


def test_it_does_not_end_under_a_module_that_works(run: Any, pack: interpreter.Pack) -> None:
    """The module imports from the pack when it answers, long after the last call."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        arguments = {"ANSIBLE_MODULE_ARGS": {"urls": {"silent": url}, "timeout_seconds": 1}}
        request = {"module": f"{interpreter.OURS}node_probe", "profile": "legacy", "params": json.dumps(arguments)}
        assert observed(run(interpreter.serve_script(pack, request, 0.2)))["urls"]["silent"]["tries"] == 3


def test_one_that_was_killed_is_replaced(
    run: Any, call: interpreter.Call, pack: interpreter.Pack, tmp_path: Path
) -> None:
    observed(run(interpreter.serve_script(pack, call.request, 30)))
    processes = serving(tmp_path)
    assert len(processes) == 1
    os.kill(processes[0], signal.SIGKILL)
    until = time.monotonic() + 10
    while serving(tmp_path) and time.monotonic() < until:
        time.sleep(0.05)
    assert run(interpreter.ask_script(pack.digest, call.request)).stdout == caller.ABSENT
    observed(run(interpreter.serve_script(pack, call.request, 30)))
    observed(run(interpreter.ask_script(pack.digest, call.request)))


def test_a_folder_that_is_others_too_is_not_used(
    run: Any, call: interpreter.Call, pack: interpreter.Pack, tmp_path: Path
) -> None:
    folder = tmp_path / "run" / "interpreter"
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    assert run(interpreter.serve_script(pack, call.request, 30)).stdout == interpreter.UNABLE
    assert not list(folder.iterdir())


class Recorded(interpreter.ModuleAction):
    """An action that writes down what it sends, and gets prepared answers."""

    def __init__(self, answers: list[str], local: bool = False, wait: int = 0) -> None:
        self.sent: list[bytes | None] = []
        self.answers = answers
        self._connection = SimpleNamespace(_remote_is_local=local)
        self._task = SimpleNamespace(async_val=wait)
        self._templar = SimpleNamespace(template=lambda value: value)
        self._interpreter_variables = {}


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def send(self: Recorded, cmd: str, sudoable: bool = True, in_data: bytes | None = None) -> dict[str, Any]:
        self.sent.append(in_data)
        return {"rc": 0, "stdout": self.answers.pop(0)}

    monkeypatch.setattr(ActionBase, "_low_level_execute_command", send)
    monkeypatch.setattr(interpreter.constants, "DEFAULT_LOCAL_TMP", str(tmp_path))


@pytest.mark.parametrize(
    ("answers", "kinds"),
    [
        pytest.param(["{}"], ["ask"], id="it-waits"),
        pytest.param([caller.ABSENT, "{}"], ["ask", "serve"], id="nobody-waits"),
        pytest.param([caller.ABSENT, interpreter.UNABLE, "{}"], ["ask", "serve", "ansible"], id="cannot-be-left"),
        pytest.param([caller.ABSENT, caller.ABSENT, "{}"], ["ask", "serve", "ansible"], id="gone-at-once"),
    ],
)
@pytest.mark.usefixtures("base")
def test_the_next_way_is_taken_only_when_nothing_was_run(payload: bytes, answers: list[str], kinds: list[str]) -> None:
    action = Recorded(list(answers))
    assert action._low_level_execute_command("python3", in_data=payload)["stdout"] == "{}"
    sent = [
        "ansible" if data == payload else "serve" if b"b64decode" in (data or b"") else "ask" for data in action.sent
    ]
    assert sent == kinds


@pytest.mark.parametrize("options", [{"local": True}, {"wait": 60}], ids=["on-the-controller", "async"])
@pytest.mark.usefixtures("base")
def test_some_calls_are_always_ansibles(payload: bytes, options: dict[str, Any]) -> None:
    action = Recorded(["{}"], **options)
    action._low_level_execute_command("python3", in_data=payload)
    assert action.sent == [payload]


@pytest.mark.usefixtures("base")
def test_it_is_switched_off_by_the_inventory(payload: bytes) -> None:
    action = Recorded(["{}"])
    action._interpreter_variables = {interpreter.VARIABLE: 0}
    action._low_level_execute_command("python3", in_data=payload)
    assert action.sent == [payload]
