# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An interpreter with the collection's modules at hand, which the tasks of a run on one host share.

Most of what a task costs a host is starting Python, unpacking the module and compiling what it imports: a quarter of a second of a core. Here that
happens once: the interpreter waits at a socket that only root can reach, and each call forks, so a module never sees what another one left behind. It ends when
nobody has called for a while. Nothing depends on it: without an answer, a task is run as Ansible runs any.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import importlib.util
import marshal
import os
import signal
import socket
import sys
import traceback
import typing as t

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _interpreter_call as caller

MODULE_UTILS = "ansible_collections.bare_metal.kubernetes.plugins.module_utils"
REQUEST_SECONDS = 10.0
LONGEST_REQUEST = 64 * 2**20


def start(place: str, pack: bytes, idle_seconds: float) -> bool:
    """Leave an interpreter behind; it listens when this returns. False where that cannot be.

    :param place: path without ending, see :func:`_interpreter_call.place`.
    :param pack: a zip of all that the modules import.
    """
    try:
        _start(place, pack, idle_seconds)
    except OSError:
        return False
    return True


def _start(place: str, pack: bytes, idle_seconds: float) -> None:
    folder = os.path.dirname(place)
    for path in (os.path.dirname(folder), folder):
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, mode=0o700)
    found = os.lstat(folder)
    if found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise PermissionError(f"{folder} is not this user's alone")
    own = f"{place}.{os.getpid()}"
    with open(f"{own}.zip", "wb") as stream:
        stream.write(pack)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(own)
        listener.listen(16)
        if os.fork() == 0:
            _leave(own, place, listener, idle_seconds)
        # What came between, of the same code, is left to itself: it ends when its time is over.
        os.replace(own, f"{place}.sock")
    finally:
        listener.close()


def _leave(own: str, place: str, listener: socket.socket, idle_seconds: float) -> None:
    """In the child: become nobody's child, let go of the session's streams, and serve. Does not return."""
    code = 1
    try:
        os.setsid()
        if os.fork() == 0:
            null = os.open(os.devnull, os.O_RDWR)
            for descriptor in (0, 1, 2):
                os.dup2(null, descriptor)
            os.chdir("/")
            code = serve(own, place, listener, idle_seconds)
        else:
            code = 0
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def serve(own: str, place: str, listener: socket.socket, idle_seconds: float) -> int:
    """Answer until nobody has called for ``idle_seconds``; returns the exit code, in the children that of their module."""
    sys.path[:] = [f"{own}.zip", *(path for path in sys.path if path not in ("", "."))]
    importlib.import_module("ansible.module_utils._internal._ansiballz._loader")
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    listener.settimeout(idle_seconds)
    mine = True
    try:
        while True:
            try:
                connection, _address = listener.accept()
            except socket.timeout:
                if nobody_left():
                    return 0
                continue
            nobody_left()
            with connection:
                try:
                    request, descriptors = receive(connection)
                except (OSError, ValueError, EOFError, TypeError):
                    continue
                preload(request["module"])
                if os.fork() == 0:
                    mine = False
                    listener.close()
                    return run(request, descriptors, connection, f"{own}.zip")
                for descriptor in descriptors:
                    os.close(descriptor)
    finally:
        if mine:
            _tidy(own, place)


def nobody_left() -> bool:
    """Bury the children that have ended; True when none works any more. They import from the pack until their end."""
    with contextlib.suppress(ChildProcessError):
        while True:
            if not os.waitpid(-1, os.WNOHANG)[0]:
                return False
    return True


def _tidy(own: str, place: str) -> None:
    """Remove the socket, when no later interpreter has put its own there, and the pack."""
    for path in (f"{own}.zip", own):
        with contextlib.suppress(OSError):
            os.unlink(path)
    if not any(name.endswith(".zip") for name in os.listdir(os.path.dirname(place))):
        with contextlib.suppress(OSError):
            os.unlink(f"{place}.sock")


def receive(connection: socket.socket) -> t.Tuple[t.Dict[str, t.Any], t.List[int]]:
    """Say that we listen, take a request and the caller's standard output and error."""
    connection.settimeout(REQUEST_SECONDS)
    connection.sendall(caller.READY)
    head, descriptors, _flags, _address = socket.recv_fds(connection, 8, 2)
    try:
        while len(head) < 8:
            head += _some(connection, 8 - len(head))
        length = int.from_bytes(head, "big")
        if length > LONGEST_REQUEST or len(descriptors) != 2:
            raise ValueError("no request of ours")
        body = bytearray()
        while len(body) < length:
            body += _some(connection, min(65536, length - len(body)))
        connection.settimeout(None)
        return marshal.loads(bytes(body)), descriptors
    except BaseException:
        for descriptor in descriptors:
            os.close(descriptor)
        raise


def _some(connection: socket.socket, most: int) -> bytes:
    part = connection.recv(most)
    if not part:
        raise EOFError("the caller went away")
    return part


def preload(module: str) -> None:
    """Import what a module imports of ours, so that its next run finds it done. What fails here fails in the module's own process, where it is told."""
    try:
        spec = importlib.util.find_spec(module)
        source = spec.loader.get_source(module)  # type: ignore[union-attr]
        for node in ast.walk(ast.parse(source or "")):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(MODULE_UTILS):
                importlib.import_module(node.module or "")
                for name in node.names:
                    if node.module == MODULE_UTILS:
                        importlib.import_module(f"{MODULE_UTILS}.{name.name}")
    except Exception:
        return


def run(request: t.Mapping[str, t.Any], descriptors: t.Sequence[int], connection: socket.socket, pack: str) -> int:
    """In the child: be the process that Ansible's own wrapper would have started; returns its exit code."""
    for descriptor, target in zip(descriptors, (1, 2)):
        os.dup2(descriptor, target)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.umask(request["umask"])
    with contextlib.suppress(OSError):
        os.chdir(request["directory"])
    code = 1
    try:
        loader = importlib.import_module("ansible.module_utils._internal._ansiballz._loader")
        loader.run_module(
            json_params=request["params"].encode(),
            profile=request["profile"],
            module_fqn=request["module"],
            modlib_path=pack,
            extensions={},
        )
    except SystemExit as exc:
        code = exc.code if isinstance(exc.code, int) else 0 if exc.code is None else 1
    except BaseException:
        traceback.print_exc()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
        connection.sendall(bytes([code & 0xFF]))
    return code
