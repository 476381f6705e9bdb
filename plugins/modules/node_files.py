#!/usr/bin/python
# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Installs the files of a node and brings its services up to date with them, in one round trip."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_files
short_description: Install a node's files and bring its services up to date, in one round trip
version_added: 0.1.0
author: The bare_metal.kubernetes maintainers (@bare-metal-kubernetes)
description:
  - Creates directories, installs whole files atomically, removes what has to be absent, then enables, starts or restarts systemd units.
  - Templates are rendered on the controller from the calling role's C(templates) directory, by the action plugin of the same name.
  - Validators run on private copies of all changed files before the first of them is written; one refusal and no file is written.
  - A unit is restarted when its process is older than the newest file it reads, so a run that was killed half way is mended by the next one.
options:
  files:
    description: Whole files. Exactly one of O(files[].content), O(files[].template) and O(files[].data) has to be given for each.
    type: list
    elements: dict
    default: []
    suboptions:
      path: {description: Where the file lands., type: path, required: true}
      content: {description: The text of the file., type: str}
      template: {description: A Jinja template below C(templates) of the calling role., type: str}
      variables: {description: 'More variables for O(files[].template), so that one makes several files.', type: dict, default: {}}
      data: {description: 'Data that is written in O(files[].format).', type: raw}
      format: {description: 'How O(files[].data) is written.', type: str, choices: [json, yaml, yaml_documents]}
      mode: {description: 'Octal permission bits in quotes. The default is V(0644), for a secret file V(0600).', type: str}
      owner: {description: Name or number of the user. The default is the user that the module runs as., type: str}
      group: {description: Name or number of the group. The default is that user's., type: str}
      validate:
        description: A program and its words that has to accept the file; C({path}) stands for a private copy with the same base name.
        type: list
        elements: str
      secret: {description: 'Keep the content out of logs and diffs. Set C(no_log) on the task too.', type: bool, default: false}
  directories:
    description: Directories that have to exist with these rights. Missing parents are made with V(0755).
    type: list
    elements: dict
    default: []
    suboptions:
      path: {description: The directory., type: path, required: true}
      mode: {description: Octal permission bits in quotes., type: str, default: '0755'}
      owner: {description: Name or number of the user., type: str}
      group: {description: Name or number of the group., type: str}
  absent:
    description: Files or whole directories that must not exist. Nothing is removed below a mount point.
    type: list
    elements: path
    default: []
  services:
    description: Systemd units, handled in this order after the files.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: The unit; without a suffix it is a service., type: str, required: true}
      state:
        description: V(present) neither starts nor stops it, but restarts it when it runs and is older than its files.
        type: str
        choices: [started, stopped, present]
        default: started
      enabled: {description: Whether it starts at boot. Left as it is when not given., type: bool}
      restart_when_newer:
        description: Files and directories that it reads. Its unit file and drop-ins always count.
        type: list
        elements: path
        default: []
      restart: {description: 'V(true) restarts it in any case, V(false) never; not given, when a file it reads is newer than its process.', type: bool}
      wait: {description: 'Wait until it is active, and fail with its journal when it does not get there.', type: bool, default: true}
      wait_seconds: {description: How long to wait., type: int, default: 90}
  state_dir:
    description: >-
      Where a file of someone else is kept before one with the words C(Written by bare_metal.kubernetes) takes its place;
      M(bare_metal.kubernetes.node_reset) gives it back.
    type: path
    default: /var/lib/bare-metal-kubernetes
  secret_contents:
    description: The contents of secret files by path, in base64. Filled in by the action plugin.
    type: dict
    default: {}
attributes:
  check_mode: {description: Says what would change., support: full}
  diff_mode: {description: 'Shows the text of files before and after; of secret files only that it differs.', support: full}
"""

EXAMPLES = r"""
- name: Configure | Install the runtime's configuration and restart it when it is older
  bare_metal.kubernetes.node_files:
    directories: [{path: /etc/containerd/certs.d}]
    files:
      - {path: /etc/containerd/config.toml, template: etc/containerd/config.toml.j2, validate: [containerd, --config, "{path}", config, dump]}
      - {path: /etc/crictl.yaml, data: {runtime-endpoint: "unix:///run/containerd/containerd.sock"}, format: yaml}
    services: [{name: containerd, enabled: true, restart_when_newer: [/etc/containerd/config.toml, /usr/local/bin/containerd]}]
"""

RETURN = r"""
changes: {description: 'The steps, each with C(kind), C(name) and C(actions).', returned: always, type: list, elements: dict}
files_changed: {description: Paths that were written or removed., returned: always, type: list, elements: str}
services_changed: {description: Units that were touched., returned: always, type: list, elements: str}
restarts_due:
  description: Units that run with older files and were asked not to be restarted (C(restart=false)).
  returned: always
  type: list
  elements: str
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _node_files as core
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._command import CommandError


def main() -> None:
    """Observe, plan, act, report."""
    module = AnsibleModule(argument_spec=core.ARGUMENTS, supports_check_mode=True)
    try:
        desired = core.parse(module.params, str(os.geteuid()), str(os.getegid()))
        observed = core.observe(desired)
        plan = core.plan(desired, observed)
        problems = [*plan.problems, *(core.validate_files(desired, plan.changes, True) if module.check_mode else [])]
        if problems:
            raise core.NodeFilesError(problems)
        if not module.check_mode:
            core.apply(desired, observed, plan.changes)
    except (core.NodeFilesError, CommandError, OSError) as exc:
        module.fail_json(msg=str(exc))
    diff = core.explain_diff(desired, observed, plan.changes) if module._diff else []
    due = core.restarts_due(desired, observed, plan.changes)
    module.exit_json(changed=bool(plan.changes), diff=diff, restarts_due=due, **core.result(plan.changes))


if __name__ == "__main__":
    main()
