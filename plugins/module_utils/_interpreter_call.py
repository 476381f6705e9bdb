# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hands a module's arguments to the interpreter that an earlier task of the run left warm on this host (:mod:`_interpreter_serve`).

The text of this file is sent to the host ahead of a call of :func:`main`, with every task: it is short, and imports next to nothing.
"""

from __future__ import annotations

import array
import marshal
import os
import socket
import sys
import typing as t

#: where interpreters listen; in memory, root's alone
FOLDER = "/run/bare-metal-kubernetes/interpreter"
#: the whole output, when there is nobody to hand the arguments to. Nothing was run.
ABSENT = "bare-metal interpreter: absent"
READY = b"+"
CONNECT_SECONDS = 5.0
#: what a shell says of a process that was killed
KILLED = 137


def place(digest: str, folder: str = FOLDER) -> str:
    """The socket's path without its ending: one for each version of the code and of Python."""
    return os.path.join(folder, f"{digest}-{sys.implementation.cache_tag}")


def connect(path: str) -> t.Optional[socket.socket]:
    """A connection to an interpreter that said that it listens; None without one."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(CONNECT_SECONDS)
    try:
        if os.stat(path).st_uid == os.geteuid():
            connection.connect(path)
            if connection.recv(1) == READY:
                return connection
    except OSError:
        pass
    connection.close()
    return None


def ask(connection: socket.socket, request: t.Mapping[str, t.Any]) -> int:
    """Have the module run with this process's standard output, error, environment, directory and mask; returns its exit code."""
    umask = os.umask(0o077)
    os.umask(umask)
    try:
        directory = os.getcwd()
    except OSError:
        directory = "/"
    body = marshal.dumps({**request, "environment": dict(os.environ), "directory": directory, "umask": umask})
    with connection:
        descriptors = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [1, 2]))]
        connection.sendmsg([len(body).to_bytes(8, "big")], descriptors)
        connection.sendall(body)
        connection.settimeout(None)
        said = connection.recv(1)
    if not said:
        sys.stderr.write("the process that ran the module ended without a word: it was killed\n")
        return KILLED
    return said[0]


def main(digest: str, request: t.Mapping[str, t.Any]) -> None:
    """Run the module where it is warm, or say that nobody is there. Ends the process."""
    connection = connect(place(digest) + ".sock")
    if connection is None:
        sys.stdout.write(ABSENT)
        raise SystemExit(0)
    raise SystemExit(ask(connection, request))
