# Copyright (c) The bare_metal.kubernetes maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""podman as the lab uses it, and two things that podman 4 does not do itself: power off what lost its monitor, and see that the host rebooted."""

from __future__ import annotations

import time
from pathlib import Path

from bmk_lab import host as machine

# podman's, conmon's, runc's and the address manager's memory of what runs. A tmpfs on most hosts, and then empty after a reboot.
RUN = Path("/run")
ALIVE, EXITS, RUNC, LEASES = "libpod/alive", "libpod/exits", "runc", "containers/networks/ipam.db"
POWER_OFF_SECONDS = 20.0


def podman(*arguments: str, timeout: float = 120, check: bool = True) -> str:
    return machine.run(["podman", *arguments], timeout=timeout, check=check).stdout


def boot_seconds(stat: str) -> int:
    """When the host booted, seconds since 1970. :param stat: /proc/stat."""
    return next(int(line.split()[1]) for line in stat.splitlines() if line.startswith("btime "))


def stale_run_files(run: Path, booted: int) -> list[Path]:
    """What outlived a reboot of the host under /run and makes podman believe in containers that are gone.

    podman sweeps up by itself where /run is a tmpfs: its sign of life is missing then. Nothing is stale once a container was started since.
    """
    alive = run / ALIVE
    if not alive.exists() or alive.stat().st_mtime >= booted:
        return []
    states = sorted((run / RUNC).glob("*"))
    if any(state.stat().st_mtime >= booted for state in states):
        return []
    leases = [run / LEASES] if (run / LEASES).exists() else []
    return [
        *(file for state in states for file in sorted(state.glob("*"))),
        *sorted((run / EXITS).glob("*")),
        *leases,
        alive,
    ]


def sweep_after_reboot(run: Path = RUN) -> None:
    for path in stale_run_files(run, boot_seconds(Path("/proc/stat").read_text())):
        path.unlink(missing_ok=True)
        if path.parent.parent == run / RUNC and not any(path.parent.iterdir()):
            path.parent.rmdir()


def power_off(container: str, run: Path = RUN) -> None:
    """Kill a container, whatever state it is in, until podman agrees that it can be started."""
    podman("unpause", container, check=False)
    podman("kill", "--signal", "KILL", container, check=False)
    deadline = time.monotonic() + POWER_OFF_SECONDS
    while time.monotonic() < deadline:
        answer = podman(
            "inspect", "--format", "{{.State.Status}} {{.State.Pid}} {{.State.ConmonPid}} {{.Id}}", container
        )
        status, pid, monitor, identity = answer.split()
        if status not in ("running", "stopping", "stopped"):
            break
        if not Path("/proc", pid).exists() and not Path("/proc", monitor).exists():
            # Its monitor died with it or before: nobody else will write down how it ended, and podman waits for that for ever.
            (run / EXITS / identity).write_text("137")
            podman("container", "cleanup", container, check=False)
        time.sleep(0.2)
    podman("container", "cleanup", container, check=False)
