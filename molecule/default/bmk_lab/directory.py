# Copyright (c) The bare_metal.kubernetes maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where a lab keeps its keys and its state: outside the tree, in the cache."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from bmk_lab import host as machine
from bmk_lab.model import Host

# sun_path is 108 bytes (unix(7)); ssh adds a dot and 16 random characters to the address, at most 15.
SOCKET_DIRECTORY_MAXIMUM = 107 - 17 - 15 - 1


class Directory:
    """The lab's directory in the cache: keys, known hosts, kubeconfig, state, and each host's /lab."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def cache(self) -> Path:
        return self.root.parent

    @property
    def host_record(self) -> Path:
        return self.cache / "host.json"

    @property
    def key(self) -> Path:
        return self.root / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        return self.root / "known_hosts"

    @property
    def kubeconfig(self) -> Path:
        return self.root / "kubeconfig"

    @property
    def state(self) -> Path:
        return self.root / "state.json"

    @property
    def sockets(self) -> Path:
        return self.root / "ssh"

    def host(self, host: Host) -> Path:
        return self.root / "hosts" / host.name

    @contextlib.contextmanager
    def locked(self, say: Callable[[str], None]) -> Iterator[None]:
        """One create or destroy at a time on this host, of any lab: they share the host's record and podman's state."""
        self.cache.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.cache, os.O_RDONLY | os.O_DIRECTORY)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say("another run is creating or removing a lab: waiting for its end")
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def read_text(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:
        return None


def make_key(path: Path, comment: str) -> None:
    """A key pair, if the private half is not there; the public half always follows from it."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not path.exists():
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        for left in (temporary, temporary.with_name(temporary.name + ".pub")):
            left.unlink(missing_ok=True)
        machine.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(temporary)])
        temporary.with_name(temporary.name + ".pub").unlink()
        temporary.rename(path)


def public_key(path: Path) -> str:
    return " ".join(machine.run(["ssh-keygen", "-y", "-f", str(path)]).stdout.split()[:2])
