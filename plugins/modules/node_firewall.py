#!/usr/bin/python
# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes a host's firewall what it should be, and takes it back when the controller cannot get in any more."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_firewall
short_description: Load a host's firewall, and keep it only when the controller gets in again
version_added: 0.1.0
author: The bare_metal.kubernetes maintainers (@bare-metal-kubernetes)
description:
  - Loads one nftables table, C(inet bare_metal_firewall), in one transaction. No other table is touched, the rule set is never flushed.
  - A changed table has to be confirmed. Before it is loaded, a timer of systemd is armed that gives the former table back. The action plugin of the same
    name then drops Ansible's connection and makes a new one; only over that the timer is stopped and the table kept for the next boot.
  - Refuses a table that does not let in the address from which the controller is logged in.
options:
  content:
    description: The table, as C(nft -f) reads it. Empty takes the firewall off the host.
    type: str
    default: ''
  admin_cidrs:
    description: Networks that O(content) lets in by ssh; the controller has to be in one of them.
    type: list
    elements: str
    default: []
  ssh_port:
    description: Port that O(content) opens for ssh.
    type: int
    default: 22
  rollback_seconds:
    description: Time for the confirmation, in seconds; after it the former table comes back.
    type: int
    default: 60
  state_dir:
    description: Directory for the former table while the new one waits.
    type: path
    default: /var/lib/bare-metal-kubernetes
  step:
    description: Which part of the work this is. Set by the action plugin.
    type: str
    choices: [apply, confirm]
    default: apply
  former_connection:
    description: The connection of the first part. Set by the action plugin.
    type: str
    default: ''
attributes:
  check_mode:
    description: Says what would change, and has nft judge the table.
    support: full
  diff_mode:
    description: Shows the table before and after, as nft lists it.
    support: full
"""

EXAMPLES = r"""
- name: Configure | Load the firewall, keep it when the controller gets in again
  bare_metal.kubernetes.node_firewall:
    content: "{{ cluster_firewall_table }}"
    admin_cidrs: "{{ cluster_firewall_admin_cidrs }}"
"""

RETURN = r"""
changes: {description: 'The steps, each with C(verb) and C(name).', returned: always, type: list, elements: dict}
pending: {description: Whether the table waits for its confirmation; the action plugin gives it., returned: always, type: bool}
connection: {description: Address and port from which the controller is logged in; empty when that is not by ssh., returned: always, type: str}
confirmed: {description: Whether the table was confirmed over a new connection., returned: when it was changed, type: bool}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _node_firewall as core
from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _ssh_client
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._command import CommandError


def main() -> None:
    """Observe, plan, act; or confirm."""
    module = AnsibleModule(
        argument_spec=dict(
            content=dict(type="str", default=""),
            admin_cidrs=dict(type="list", elements="str", default=[]),
            ssh_port=dict(type="int", default=22),
            rollback_seconds=dict(type="int", default=60),
            state_dir=dict(type="path", default="/var/lib/bare-metal-kubernetes"),
            step=dict(type="str", choices=["apply", "confirm"], default="apply"),
            former_connection=dict(type="str", default=""),
        ),
        supports_check_mode=True,
    )
    asked = module.params
    client = _ssh_client.observe()
    connection = client.name if client else ""
    changes: list = []
    pending = False
    try:
        wanted = core.Wanted(asked["content"], core.canonical(asked["content"]))
        if asked["step"] == "confirm":
            core.confirm(wanted, asked["former_connection"], client, asked["state_dir"])
            module.exit_json(changed=True, connection=connection, confirmed=True)
        reason = _ssh_client.refusal(client, asked["admin_cidrs"], asked["ssh_port"]) if wanted.text else ""
        if reason:
            raise core.NodeFirewallError(reason)
        observed = core.observe()
        changes = core.plan(observed, wanted)
        if changes and not module.check_mode:
            pending = core.apply(observed, wanted, changes, asked["rollback_seconds"], asked["state_dir"])
    except (core.NodeFirewallError, CommandError, OSError, ValueError) as exc:
        module.fail_json(msg=str(exc), connection=connection)
    module.exit_json(
        changed=bool(changes),
        changes=[{"verb": change.verb, "name": change.name} for change in changes],
        diff=core.diff(changes) if module._diff else [],
        pending=pending,
        connection=connection,
    )


if __name__ == "__main__":
    main()
