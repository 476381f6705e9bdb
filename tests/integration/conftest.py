"""The collection's commands as a user runs them, from the tree or from an installed artifact."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
from browser import Browser, browser  # importlib mode does not put this directory on the path
from namespaces import SPACES, sh

ROOT = Path(__file__).resolve().parents[2]
Run = Callable[..., subprocess.CompletedProcess[str]]


# A connection that leaves a mark when it is used.
TRIPWIRE = '''
from ansible.errors import AnsibleError
from ansible.plugins.connection import ConnectionBase

DOCUMENTATION = """
name: tripwire
short_description: Fails
description: Fails when it is used.
options: {}
"""


class Connection(ConnectionBase):
    transport = "tripwire"
    has_pipelining = True

    def _trip(self, *arguments, **options):
        open("@MARK@", "w").close()
        raise AnsibleError("a connection was opened")

    _connect = exec_command = put_file = fetch_file = _trip

    def close(self):
        pass
'''


@pytest.fixture(scope="session")
def tripwire() -> Callable[[Path, Path], None]:
    """Write the connection plugin `tripwire` into a directory; opening a connection with it fails and leaves the mark."""

    def write(directory: Path, mark: Path) -> None:
        (directory / "tripwire.py").write_text(TRIPWIRE.replace("@MARK@", str(mark)))

    return write


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def run() -> Run:
    """Run a program of the virtual environment: an argv list, a bounded time, plain output, none of the caller's Ansible settings."""

    def runner(
        *argv: str | Path,
        cwd: Path = ROOT,
        env: Mapping[str, str] | None = None,
        timeout: float = 180,
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        clean = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
        path = f"{Path(sys.executable).parent}:{clean['PATH']}"
        # Tasks on localhost take this interpreter; no cache or configuration of the caller is touched.
        environment = {
            **clean,
            "PATH": path,
            "LC_ALL": "C.UTF-8",
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_FORKS": "2",
            **(env or {}),
        }
        words = [str(word) for word in argv]
        done = subprocess.run(
            words, cwd=cwd, env=environment, capture_output=True, text=True, timeout=timeout, check=False
        )
        if check:
            assert done.returncode == 0, f"{words} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    return runner


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory, run: Run) -> Path:
    """The tree as a commit would have it, in a git repository of its own."""
    target = tmp_path_factory.mktemp("checkout") / "repository"
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z").stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    run("git", "init", "--quiet", "--initial-branch=main", cwd=target)
    run("git", "add", "--all", cwd=target)
    run(
        "git",
        "-c",
        "user.name=t",
        "-c",
        "user.email=t@example.org",
        "commit",
        "--quiet",
        "-m",
        "Everything",
        cwd=target,
    )
    return target


@pytest.fixture(scope="session")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser for all tests that look at HTML reports: `reader.show(page, width, dark=True).findings` is what a reader would stumble over."""
    with browser(tmp_path_factory.mktemp("browser")) as started:
        yield started


@pytest.fixture(scope="module")
def programs() -> dict[str, str]:
    """Paths of bird and birdc, and the libraries' directory."""
    if shutil.which("bird") and shutil.which("birdc"):
        return {"bird": "bird", "birdc": "birdc", "libraries": ""}
    done = subprocess.run([ROOT / "tests/tools/router_tools"], capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        pytest.skip(f"no BIRD 2 here: {done.stderr}")
    base = done.stdout.strip()
    return {
        "bird": f"{base}/usr/sbin/bird",
        "birdc": f"{base}/usr/sbin/birdc",
        "libraries": f"{base}/usr/lib/x86_64-linux-gnu",
    }


@pytest.fixture
def cable() -> Iterator[None]:
    """Two namespaces with a cable between them."""
    for space in SPACES:
        sh("ip", "netns", "del", space, check=False)
        sh("ip", "netns", "add", space)
    try:
        sh("ip", "link", "add", "eth0", "netns", SPACES[0], "type", "veth", "peer", "name", "eth0", "netns", SPACES[1])
        for space, number in zip(SPACES, (254, 11), strict=True):
            sh("ip", "-n", space, "address", "add", f"10.99.1.{number}/24", "dev", "eth0")
            sh("ip", "-n", space, "link", "set", "eth0", "up")
        yield
    finally:
        for space in SPACES:
            sh("ip", "netns", "del", space, check=False)
