# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian root file systems for the few images that need tools, made by ``mmdebstrap``."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_go import Say, tail
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_lock import Base
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_manifest import BundleError

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
TIMEOUT_SECONDS = 1800
# What a container never reads, or what differs from one run to the next.
DROPPED = (
    "/dev/",
    "/etc/apt/sources.list",
    "/usr/share/doc/",
    "/usr/share/info/",
    "/usr/share/locale/",
    "/usr/share/man/",
    "/var/cache/",
    "/var/lib/apt/",
    "/var/log/",
)
_EXCLUDED = ("/usr/share/doc/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/man/*")


def mmdebstrap_arguments(
    base: Base, architecture: str, mirror: str, output: Path | str, keyring: Path | None = None
) -> list[str]:
    """The command that writes ``output`` (a tar), with security updates. The packages' order in the lock does not matter.

    ``mirror`` is the URL of a Debian archive; its security archive is expected beside it, with ``-security`` appended.
    Empty takes mmdebstrap's own default, Debian's archive with its security updates.
    """
    return [
        *("mmdebstrap", "--variant=minbase", "--quiet", "--skip=output/dev", f"--architectures={architecture}"),
        f"--include={','.join(sorted(base.packages))}",
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in _EXCLUDED),
        *((f"--keyring={keyring}",) if keyring else ()),
        *(base.suite, str(output)),
        *((f"deb {mirror} {base.suite} main", f"deb {mirror}-security {base.suite}-security main") if mirror else ()),
    ]


def ensure_mmdebstrap(say: Say) -> None:
    """Install mmdebstrap from the controller's own distribution when it is missing and that is allowed."""
    if shutil.which("mmdebstrap"):
        return
    if not shutil.which("apt-get") or os.geteuid() != 0:
        raise BundleError(
            "mmdebstrap is missing and only root on Debian or Ubuntu can install it here. Install the packages mmdebstrap and "
            "debian-archive-keyring, or use the sources 'upstream' or 'mirror'."
        )
    say("bundle: installing mmdebstrap")
    environment = {"DEBIAN_FRONTEND": "noninteractive"}
    _run(["apt-get", "-q", "update"], environment)
    _run(
        ["apt-get", "-q", "-y", "--no-install-recommends", "install", "mmdebstrap", "debian-archive-keyring"],
        environment,
    )


def make_rootfs(base: Base, architecture: str, output: Path, say: Say, mirror: str = "") -> None:
    """Write the tar of a base to ``output``; a :class:`BundleError` says what failed and what to do."""
    ensure_mmdebstrap(say)
    archive = mirror or "Debian's own archive"
    _run(
        mmdebstrap_arguments(base, architecture, mirror, output, KEYRING if KEYRING.exists() else None),
        {"SOURCE_DATE_EPOCH": "0"},
        f"Making the Debian {base.suite} base {base.name!r} failed. Check that {archive} (and http_proxy) can be reached, and the "
        "free space of the temporary directory.",
    )


def _run(argv: Sequence[str], environment: dict[str, str], problem: str = "") -> None:
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        try:
            code: object = subprocess.run(
                argv,
                env={**os.environ, "LC_ALL": "C", **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                timeout=TIMEOUT_SECONDS,
                check=False,
            ).returncode
        except (OSError, subprocess.TimeoutExpired) as error:
            code = error
        if code != 0:
            log.seek(0)
            raise BundleError(
                f"{problem or 'A command failed.'}\nCommand: {' '.join(argv)} ({code})\nLast lines:\n{tail(log.read())}"
            )
