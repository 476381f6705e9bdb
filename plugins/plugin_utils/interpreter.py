# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the collection's modules in an interpreter that stays on the host between tasks, so that a host starts Python and compiles code once a run.

A task still makes one call over Ansible's connection, with its ``become``, environment and arguments. What it sends is the arguments and a few lines that
hand them to the waiting interpreter (:mod:`_interpreter_call`); when nobody waits, the next call brings all modules and leaves one behind
(:mod:`_interpreter_serve`). Whatever is not as expected is run as Ansible runs any module: without pipelining, on the controller itself, for a user who may not
write to /run, with a payload that is not understood.
"""

from __future__ import annotations

import ast
import base64
import hashlib
import io
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible import constants
from ansible.plugins.action import ActionBase

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _interpreter_call, _interpreter_serve

PLUGINS = Path(__file__).resolve().parents[1]
PACKAGE = "ansible_collections/bare_metal/kubernetes/plugins"
OURS = "ansible_collections.bare_metal.kubernetes.plugins.modules."
ENTRY = b"\n    _ansiballz_main(\n"
UNABLE = "bare-metal interpreter: unable"
VARIABLE = "cluster_interpreter_seconds"
DEFAULT_SECONDS = 120
NAMES = ("module_fqn", "profile", "params", "extensions", "rlimit_nofile", "zip_data")


@dataclass(frozen=True)
class Call:
    """A module and its arguments as Ansible's payload has them; ``archive`` is all that it imports, base64."""

    module: str
    profile: str
    params: str
    archive: str

    @property
    def request(self) -> dict[str, str]:
        """What the waiting interpreter is asked for."""
        return {"module": self.module, "profile": self.profile, "params": self.params}


def call_of(payload: bytes | None) -> Call | None:
    """Read Ansible's payload; None when it is not a plain call of one of our modules."""
    _before, found, tail = (payload or b"").rpartition(ENTRY)
    if not found:
        return None
    given: dict[str, Any] = {}
    for line in tail.decode("utf-8", "surrogateescape").splitlines():
        name, equals, value = line.partition("=")
        if equals and name in NAMES and name not in given:
            try:
                given[name] = ast.literal_eval(value.rstrip(","))
            except (ValueError, SyntaxError):
                return None
    if set(given) != set(NAMES) or given["extensions"] or given["rlimit_nofile"]:
        return None
    texts = [given[name] for name in ("module_fqn", "profile", "params", "zip_data")]
    if not all(isinstance(text, str) for text in texts) or not texts[0].startswith(OURS):
        return None
    return Call(*texts)


@dataclass(frozen=True)
class Pack:
    """All modules of the collection and what they import, as a zip; ``digest`` is that of its content."""

    data: bytes
    digest: str


def make_pack(archive: bytes, plugins: Path = PLUGINS) -> Pack:
    """Put the collection's modules beside Ansible's part of a module's own ``archive``; the same files make the same pack."""
    files: dict[str, bytes] = {}
    with zipfile.ZipFile(io.BytesIO(archive)) as given:
        for name in given.namelist():
            if not name.startswith(f"{PACKAGE}/m"):
                files[name] = given.read(name)
    for folder in ("modules", "module_utils"):
        files[f"{PACKAGE}/{folder}/__init__.py"] = b""
        for path in sorted((plugins / folder).glob("*.py")):
            files[f"{PACKAGE}/{folder}/{path.name}"] = path.read_bytes()
    digest = hashlib.sha256()
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in sorted(files.items()):
            digest.update(f"{name}\0{len(content)}\0".encode() + content)
            made.writestr(zipfile.ZipInfo(name), content, compress_type=zipfile.ZIP_DEFLATED)
    return Pack(data.getvalue(), digest.hexdigest()[:32])


def pack_of_run(archive: str, folder: Path) -> Pack:
    """The pack, made once in a run: tasks run in processes of their own, so it is kept in the run's ``folder``, which ends with it."""
    kept = sorted(folder.glob("interpreter-*.zip"))
    if kept:
        return Pack(kept[0].read_bytes(), kept[0].stem.partition("-")[2])
    pack = make_pack(base64.b64decode(archive))
    target = folder / f"interpreter-{pack.digest}.zip"
    draft = folder / f"interpreter-{os.getpid()}.part"
    draft.write_bytes(pack.data)
    draft.replace(target)
    return pack


def _source(module: Any) -> str:
    return Path(module.__file__).read_text(encoding="utf-8")


def ask_script(digest: str, request: Mapping[str, str]) -> bytes:
    """A program that hands a request to the waiting interpreter, or says that nobody waits."""
    return f"{_source(_interpreter_call)}\n\nmain({digest!r}, {dict(request)!r})\n".encode()


def serve_script(pack: Pack, request: Mapping[str, str], seconds: float) -> bytes:
    """A program that leaves an interpreter behind, then hands it the request; it says so when it cannot."""
    return f"""{_source(_interpreter_call)}

import base64, types
package = "ansible_collections.bare_metal.kubernetes.plugins.module_utils"
for end in range(1, len(package.split(".")) + 1):
    sys.modules[".".join(package.split(".")[:end])] = types.ModuleType(".".join(package.split(".")[:end]))
caller = types.ModuleType(package + "._interpreter_call")
caller.__dict__.update({{name: value for name, value in globals().items() if not name.startswith("__")}})
sys.modules[package]._interpreter_call = sys.modules[package + "._interpreter_call"] = caller
server = types.ModuleType("interpreter_server")
exec(compile({_source(_interpreter_serve)!r}, "interpreter_server", "exec"), server.__dict__)
for name in [name for name in sys.modules if name.startswith("ansible_collections")]:
    del sys.modules[name]
pack = base64.b64decode({base64.b64encode(pack.data).decode()!r})
if not server.start(place({pack.digest!r}), pack, {float(seconds)!r}):
    sys.stdout.write({UNABLE!r})
    sys.exit(0)
main({pack.digest!r}, {dict(request)!r})
""".encode()


class NodeAction(ActionBase):
    """An action whose modules run in the host's waiting interpreter."""

    def _execute_module(self, *arguments: Any, **named: Any) -> dict[str, Any]:
        self._interpreter_variables = named.get("task_vars") or {}
        return dict(super()._execute_module(*arguments, **named))

    def _interpreter_seconds(self) -> float:
        """How long an interpreter waits for the next task; 0: none is wanted here."""
        if getattr(self._connection, "_remote_is_local", False) or self._task.async_val:
            return 0.0
        value = getattr(self, "_interpreter_variables", {}).get(VARIABLE, DEFAULT_SECONDS)
        return float(self._templar.template(value))

    def _low_level_execute_command(
        self, cmd: str, sudoable: bool = True, in_data: bytes | None = None, **named: Any
    ) -> dict[str, Any]:
        call = call_of(in_data)
        seconds = self._interpreter_seconds() if call else 0.0
        if call is None or not seconds:
            return dict(super()._low_level_execute_command(cmd, sudoable=sudoable, in_data=in_data, **named))
        pack = pack_of_run(call.archive, Path(constants.DEFAULT_LOCAL_TMP))
        scripts = (
            lambda: ask_script(pack.digest, call.request),
            lambda: serve_script(pack, call.request, seconds),
            lambda: in_data,
        )
        for script in scripts:
            said = dict(super()._low_level_execute_command(cmd, sudoable=sudoable, in_data=script(), **named))
            if said.get("stdout", "").strip() not in (_interpreter_call.ABSENT, UNABLE):
                break
        return said


class ModuleAction(NodeAction):
    """The action of a module that needs nothing else on the controller."""

    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the module of the task's own name."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        result.update(self._execute_module(task_vars=task_vars))
        return result
