#!/usr/bin/python
# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Installs certificates and keys on a host, in one call and in a given order."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pki_install
short_description: Install a host's certificates and keys
version_added: 0.1.0
author: The bare_metal.kubernetes maintainers (@bare-metal-kubernetes)
description:
  - Creates the user, the directories and the files of a host's certificates and keys, in the order given; each file whole or not at all.
  - The action plugin of the same name works out what a host needs, signs what is missing and calls this module. When nothing is missing, it does not.
  - Used directly, the module takes the list of files.
options:
  user:
    description: A system user that has to exist before the files are written, made by C(systemd-sysusers). Empty for none.
    type: str
    default: ""
  files:
    description: Directories and files, in the order in which they are made.
    type: list
    elements: dict
    default: []
    suboptions:
      path: {description: Where it lands., type: path, required: true}
      mode: {description: 'Octal permission bits in quotes.', type: str, required: true}
      owner: {description: 'Name of the user; the group is its own.', type: str, required: true}
      directory: {description: Whether it is a directory., type: bool, default: false}
      content: {description: The text of the file. Without it only the rights are set., type: str}
  facts: {description: 'For the action plugin: what RV(bare_metal.kubernetes.pki_facts#module:pki) said of this host.', type: dict}
  authorities: {description: 'For the action plugin: what M(bare_metal.kubernetes.pki_authorities) returned.', type: dict}
  renew_before_days: {description: 'For the action plugin: days before its end that a certificate is renewed.', type: int, default: 90}
  encrypted_resources: {description: 'For the action plugin: API resources encrypted at rest.', type: list, elements: str, default: [secrets]}
attributes:
  check_mode: {description: Says what would change., support: full}
  diff_mode: {description: 'Shows paths and why they change, never contents.', support: full}
"""

EXAMPLES = r"""
- name: Install | The host's certificates and keys
  bare_metal.kubernetes.pki_install:
    facts: "{{ observed.pki }}"
    authorities: "{{ authorities.authorities }}"
  no_log: true
"""

RETURN = r"""
changes: {description: 'Paths that changed, each with the reason.', returned: always, type: dict}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _pki_files as files
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._command import CommandError

FILE = dict(
    path=dict(type="path", required=True),
    mode=dict(type="str", required=True),
    owner=dict(type="str", required=True),
    directory=dict(type="bool", default=False),
    content=dict(type="str", no_log=True),
)


def main() -> None:
    """Compare, install what differs, report paths."""
    module = AnsibleModule(
        argument_spec=dict(
            user=dict(type="str", default=""),
            files=dict(type="list", elements="dict", default=[], options=FILE),
            facts=dict(type="dict"),
            authorities=dict(type="dict", no_log=True),
            renew_before_days=dict(type="int", default=90),
            encrypted_resources=dict(type="list", elements="str", default=["secrets"]),
        ),
        supports_check_mode=True,
    )
    user, changes = module.params["user"], {}
    try:
        if user and not files.user_exists(user):
            changes[f"user {user}"] = "missing"
            if not module.check_mode:
                files.create_user(user, f"{user} of bare_metal.kubernetes")
        for entry in module.params["files"]:
            content = entry["content"]
            wanted = files.Installation(
                entry["path"], int(entry["mode"], 8), entry["owner"], entry["directory"], content
            )
            why = files.differences(wanted)
            if why:
                changes[wanted.path] = ", ".join(why)
                if not module.check_mode:
                    files.install(wanted, why)
    except (files.PkiFilesError, CommandError, OSError, KeyError, ValueError) as exc:
        module.fail_json(msg=f"certificates and keys could not be installed: {exc}", changes=changes)
    after = "".join(f"{path}: {why}\n" for path, why in changes.items())
    diff = {
        "before_header": "certificates and keys",
        "after_header": "certificates and keys",
        "before": "",
        "after": after,
    }
    module.exit_json(changed=bool(changes), changes=changes, diff=diff)


if __name__ == "__main__":
    main()
