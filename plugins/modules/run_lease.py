#!/usr/bin/python
# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps the lease of a cluster on one of its control planes."""

from __future__ import annotations

DOCUMENTATION = r"""
module: run_lease
short_description: Let one run at a time change a cluster
version_added: 0.1.0
author: The bare_metal.kubernetes maintainers (@bare-metal-kubernetes)
description:
  - Takes the lease of a cluster on this control plane, or stops and names the run that has it.
  - A lease is given up by the end of its run, by its expiry, when its process on this same controller no longer exists, or by hand with O(break).
  - The lease is state of the run and not of the host, so it never counts as a change. A run in check mode takes none.
  - The action plugin of the same name fills in who asks.
options:
  state:
    description: V(held) takes or renews the lease, V(released) gives it back if it is this run's.
    type: str
    choices: [held, released]
    default: held
  seconds:
    description: How long the lease holds without being renewed.
    type: int
    default: 14400
  break:
    description: A holder, as a refusal prints it (C(user@host)), whose lease is broken.
    type: str
    default: ""
  state_dir:
    description: Directory on the host that keeps the lease.
    type: path
    default: /var/lib/bare-metal-kubernetes
  run:
    description: Who asks. Filled in by the action plugin.
    type: dict
  gone:
    description: A run of the same controller that no longer exists. Filled in by the action plugin.
    type: dict
  living:
    description: Whether the run that has the lease is known to live. Filled in by the action plugin.
    type: bool
    default: false
  judged:
    description: Whether the action plugin has looked for the holder's process. Until then nothing of another run is taken over or refused.
    type: bool
    default: false
attributes:
  check_mode: {description: Takes and gives back nothing., support: full}
  diff_mode: {description: It changes nothing., support: none}
"""

EXAMPLES = r"""
- name: Lease | Take it, or name the run that has it
  bare_metal.kubernetes.run_lease:
    seconds: "{{ cluster_lease_seconds }}"
    break: "{{ cluster_lease_break }}"
"""

RETURN = r"""
verdict: {description: 'V(free), V(ours), V(taken), V(expired), V(dead) or V(broken): what was found.', returned: always, type: str}
lease: {description: The lease that was found., returned: when there was one, type: dict}
"""

import contextlib
import fcntl
import os
from dataclasses import asdict

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _lease as core
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._atomic import write_atomic


def main() -> None:
    """Judge the lease that stands, and take it or give it back under a lock."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["held", "released"], "default": "held"},
            "seconds": {"type": "int", "default": 14400},
            "break": {"type": "str", "default": ""},
            "state_dir": {"type": "path", "default": "/var/lib/bare-metal-kubernetes"},
            "run": {"type": "dict"},
            "gone": {"type": "dict"},
            "living": {"type": "bool", "default": False},
            "judged": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    params, directory = module.params, module.params["state_dir"]
    run = core.Run(**params["run"])
    path = os.path.join(directory, "lease.json")
    if module.check_mode:
        return _answer(module, _read(path), run)
    try:
        os.makedirs(directory, mode=0o755, exist_ok=True)
        with open(os.path.join(directory, "lease.lock"), "w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            found = _read(path)
            verdict = _verdict(module, found, run)
            if params["state"] == "released" and verdict == core.OURS:
                os.unlink(path)
            elif params["state"] == "held" and (verdict in core.MINE or (params["judged"] and verdict != core.TAKEN)):
                now = core.now()
                acquired = found.acquired if found and verdict == core.OURS else now
                write_atomic(path, core.render(core.Lease(run, acquired, now + params["seconds"])).encode(), mode=0o644)
    except OSError as exc:
        module.fail_json(msg=f"the lease in '{directory}' cannot be kept: {exc}")
    return _answer(module, found, run)


def _read(path: str) -> core.Lease | None:
    with contextlib.suppress(FileNotFoundError), open(path, encoding="utf-8", errors="replace") as stream:
        return core.parse(stream.read())
    return None


def _verdict(module: AnsibleModule, found: core.Lease | None, run: core.Run) -> str:
    living = True if module.params["living"] else None
    if found and module.params["gone"] and core.Run(**module.params["gone"]) == found.run:
        living = False
    return core.judge(found, run, core.now(), living, module.params["break"])


def _answer(module: AnsibleModule, found: core.Lease | None, run: core.Run) -> None:
    verdict = _verdict(module, found, run)
    lease = {"lease": asdict(found)} if found else {}
    if verdict == core.TAKEN and found and module.params["judged"] and not module.check_mode:
        module.fail_json(msg=core.refusal(found, core.now()), verdict=verdict, **lease)
    module.exit_json(changed=False, verdict=verdict, **lease)


if __name__ == "__main__":
    main()
