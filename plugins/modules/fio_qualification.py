#!/usr/bin/python
# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures whether the disk of a directory commits fast enough for etcd."""

from __future__ import annotations

DOCUMENTATION = r"""
module: fio_qualification
short_description: Measure whether a directory's disk is fast enough for etcd
version_added: 0.1.0
author: The bare_metal.kubernetes maintainers (@bare-metal-kubernetes)
description:
  - Writes and commits (C(fdatasync)) as etcd does, with fio 3.4 or newer, in several windows, and judges the worst of them.
  - What is written lies in files without a name on that disk, which the kernel frees with the last process that has them open, also after a kill.
  - Refuses block devices, file systems that are not on a disk of this machine, too little space, and a disk on which etcd runs.
  - The result is remembered in C(disk-qualification.json) in O(state_dir), and may be taken again instead of a new measurement.
options:
  directory:
    description: Directory on the disk, such as etcd's. When it does not exist, the nearest one above it is measured.
    type: path
    required: true
  profile:
    description:
      - V(quick) is the known recipe of 22 MiB in writes of 2300 bytes, three times.
      - V(standard) writes 2300 and 8000 bytes at a time, two minutes in all.
      - V(loaded) does the same again beside a writer and two readers, as when images are pulled; four minutes.
      - V(sustained) writes for ten minutes, to see what is left of a disk when its burst credits or its write cache are used up.
    type: str
    choices: [quick, standard, loaded, sustained]
    default: standard
  duration_seconds:
    description: Length of the measurement; V(0) is the profile's. At least 60 (V(standard)), 120 (V(loaded)) or 600 (V(sustained)), at most 1800.
    type: int
    default: 0
  max_p99_ms: {description: 'The gate: the 99th percentile of every window has to be below it.', type: float, default: 10}
  heartbeat_interval_ms: {description: etcd's heartbeat interval., type: int, default: 100}
  election_timeout_ms: {description: etcd's election timeout; no commit may take so long., type: int, default: 1000}
  allow_filesystems:
    description: Types of file systems, such as V(overlay), that are measured although they are not on a disk of this machine.
    type: list
    elements: str
    default: []
  allow_live: {description: Measure a disk on which etcd runs. It may lose its leader meanwhile., type: bool, default: false}
  max_age_seconds:
    description: Take a remembered result of at most this age when disk, kernel and parameters are the same. V(0) always measures.
    type: int
    default: 0
  required_verdict:
    description: The module fails when the verdict is worse; V(any) never fails and leaves it to the caller.
    type: str
    choices: [any, pass, good, excellent]
    default: pass
  state_dir: {description: Where results are remembered., type: path, default: /var/lib/bare-metal-kubernetes}
attributes:
  check_mode:
    description: Measures nothing and says so (V(unmeasured)); refuses what would be refused, and takes a remembered result where it may.
    support: full
  diff_mode: {description: It changes nothing., support: none}
requirements: [fio 3.4 or newer]
"""

EXAMPLES = r"""
- name: Refuse a disk that is too slow for etcd
  bare_metal.kubernetes.fio_qualification:
    directory: /var/lib/etcd
    profile: loaded
    max_age_seconds: 604800
"""

RETURN = r"""
verdict:
  description: >-
    V(excellent), V(good), V(pass), V(fail); V(insufficient) (too few commits) or V(implausible) (faster than any disk); V(refused), V(error) (fio failed)
    or V(unmeasured) (check mode).
  returned: always
  type: str
reasons: {description: Why., returned: always, type: list, elements: str}
p99_ns: {description: 99th percentile of the worst window in nanoseconds., returned: always, type: int}
summary:
  description: >-
    C(samples), C(p99_ns), C(p999_ns), C(max_ns) (of the worst window each), C(share_above_gate), C(share_above_heartbeat), C(syncs_per_second), C(drift) (last
    third against first), C(recommended_heartbeat_interval_ms), C(recommended_election_timeout_ms). Empty when nothing was measured.
  returned: always
  type: dict
windows: {description: 'Each with C(block_size), C(loaded), C(samples), C(percentiles) ...', returned: always, type: list, elements: dict}
device: {description: 'C(filesystem), C(mount), C(mount_options), C(source), and the C(chain) of devices to the disks.', returned: always, type: dict}
kernel: {description: The kernel's release., returned: always, type: str}
parameters: {description: What the result depends on besides the machine., returned: always, type: dict}
profile: {description: The profile., returned: always, type: str}
at: {description: When it was measured (epoch seconds)., returned: always, type: int}
reused: {description: Whether this is a remembered result., returned: always, type: bool}
directory: {description: The directory that was asked for., returned: always, type: str}
measured_directory: {description: The one that was measured., returned: always, type: str}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _fio as core
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._fio_run import Request, StoppedError, qualify


def main() -> None:
    """Measure or remember, judge, report."""
    module = AnsibleModule(
        argument_spec=dict(
            directory=dict(type="path", required=True),
            profile=dict(type="str", choices=list(core.PROFILES), default="standard"),
            duration_seconds=dict(type="int", default=0),
            max_p99_ms=dict(type="float", default=10),
            heartbeat_interval_ms=dict(type="int", default=100),
            election_timeout_ms=dict(type="int", default=1000),
            allow_filesystems=dict(type="list", elements="str", default=[]),
            allow_live=dict(type="bool", default=False),
            max_age_seconds=dict(type="int", default=0),
            required_verdict=dict(type="str", choices=["any", *core.GOOD_VERDICTS], default="pass"),
            state_dir=dict(type="path", default="/var/lib/bare-metal-kubernetes"),
        ),
        supports_check_mode=True,
    )
    given = module.params
    request = Request(
        given["directory"],
        given["profile"],
        given["duration_seconds"],
        core.Limits(
            int(given["max_p99_ms"] * core.MS),
            given["heartbeat_interval_ms"] * core.MS,
            given["election_timeout_ms"] * core.MS,
        ),
        tuple(given["allow_filesystems"]),
        given["allow_live"],
        given["max_age_seconds"],
        given["state_dir"],
    )
    try:
        found = qualify(request, act=not module.check_mode)
    except (core.FioError, StoppedError, OSError) as exc:
        module.fail_json(msg=f"{given['directory']}: {exc}")
    if found["verdict"] != "unmeasured" and not core.is_enough(found["verdict"], given["required_verdict"]):
        wanted = f"wanted: {given['required_verdict']}"
        module.fail_json(
            msg=f"{given['directory']}: {found['verdict']} ({wanted}): {'; '.join(found['reasons'])}", **found
        )
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
