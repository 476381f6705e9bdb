#!/usr/bin/python
# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings one member of etcd to what the inventory wants, without ever risking the quorum."""

from __future__ import annotations

DOCUMENTATION = r"""
module: etcd_member
short_description: Start, join, restart, replace or remove a member of etcd
version_added: 0.1.0
author: The bare_metal.kubernetes maintainers (@bare-metal-kubernetes)
description:
  - Runs on a member's host. Judges by what the cluster, the process and the data directory say, so an interrupted run is taken up where it was cut.
  - A member without data starts a new cluster only when no wanted member has data or was ever part of one. It joins a live cluster as a learner and becomes
    a voter when it is in step. A member that lost its data is removed and joins anew. What an earlier life left in the data directory is renamed, not deleted.
  - A member whose files are newer than its process is restarted only while all other voters are healthy.
  - A host may have members of several clusters (O(also)), each judged by its own cluster; the first one is dealt with before the others.
options:
  state:
    description:
      - V(observed) changes nothing and says whether the host has data.
      - V(started) does this member's next step, restarts included. Run it on one member at a time (C(throttle) 1).
      - V(joined) waits until this member is a healthy voter and does what is missing, but never restarts. Run it on all members at once.
      - V(absent) removes the member O(member) from a live cluster; it runs on any other member's host.
      - V(retired) takes this host's member of a cluster that ends as a whole off the host, with its data; refused while an API server uses it.
    type: str
    choices: [observed, started, joined, absent, retired]
    default: joined
  name: {description: Name of the member on this host., type: str, required: true}
  members:
    description: All wanted members, this one included.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: Its name., type: str, required: true}
      peer_url: {description: Where other members reach it., type: str, required: true}
      client_url: {description: Where clients reach it., type: str, required: true}
  member: {description: 'The member to remove, for O(state=absent).', type: str}
  removed: {description: 'Members to remove first, with O(state=started).', type: list, elements: str, default: []}
  data_elsewhere:
    description: What O(state=observed) said on the other hosts, by member name; null for a host that was not asked.
    type: dict
    default: {}
  data_directory: {description: etcd's C(data-dir)., type: path, default: /var/lib/etcd}
  wal_directory: {description: 'Where the write-ahead log is; the default is C(member/wal) in the data directory.', type: path}
  configuration: {description: etcd's configuration file., type: path, default: /etc/etcd/etcd.yaml}
  pki: {description: 'Directory of C(ca.crt) and of C(peer) and C(client) C(.crt) and C(.key).', type: path, default: /etc/etcd/pki}
  etcdctl: {description: The program., type: path, default: /usr/local/bin/etcdctl}
  unit: {description: The systemd unit., type: str, default: etcd.service}
  health_url: {description: etcd's metrics address on loopback., type: str, default: 'http://127.0.0.1:2381'}
  reads: {description: Files whose change asks for a restart., type: list, elements: path, default: []}
  changing:
    description: Files that earlier tasks of this run have written. In check mode they are still the old ones, and a restart for them is shown all the same.
    type: list
    elements: path
    default: []
  timeout_seconds: {description: How long to wait for health., type: int, default: 180}
  also:
    description: Members of other clusters on this host, for V(observed), V(started) and V(joined). What they do not have here is as above.
    type: list
    elements: dict
    default: []
    suboptions:
      cluster: {description: What this cluster is called in results., type: str, required: true}
      members:
        description: As O(members).
        type: list
        elements: dict
        default: []
        suboptions:
          name: {description: Its name., type: str, required: true}
          peer_url: {description: Where other members reach it., type: str, required: true}
          client_url: {description: Where clients reach it., type: str, required: true}
      data_elsewhere: {description: As O(data_elsewhere)., type: dict, default: {}}
      data_directory: {description: As O(data_directory)., type: path, required: true}
      wal_directory: {description: As O(wal_directory)., type: path}
      configuration: {description: As O(configuration)., type: path, required: true}
      unit: {description: As O(unit)., type: str, required: true}
      health_url: {description: As O(health_url)., type: str, required: true}
      reads: {description: As O(reads)., type: list, elements: path, default: []}
attributes:
  check_mode: {description: Says what it would do next., support: full}
  diff_mode: {description: 'Shows the steps, in words.', support: full}
"""

EXAMPLES = r"""
- name: Run | Start the members, or restart them one at a time
  bare_metal.kubernetes.etcd_member: {state: started, name: a, members: "{{ wanted }}", reads: [/etc/etcd/etcd.yaml, /usr/local/bin/etcd]}
  throttle: 1
"""

RETURN = r"""
actions: {description: 'What was done, or would be in check mode.', returned: always, type: list, elements: str}
has_data: {description: Whether the host has a write-ahead log, returned: always, type: bool}
installed: {description: Whether anything of a member is on the host, returned: always, type: bool}
decision: {description: 'What stands now, and why', returned: not with state=observed, type: str}
voters: {description: 'Names of the voters; empty when there is no quorum', returned: not with state=observed, type: list, elements: str}
also: {description: 'The same of the members in O(also), by O(also[].cluster)', returned: always, type: dict}
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _etcd as core
from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _etcd_client as client
from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _etcd_retire as retirement
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._command import CommandError

PEER = {key: dict(type="str", required=True) for key in ("name", "peer_url", "client_url")}
ALSO = dict(
    cluster=dict(type="str", required=True),
    members=dict(type="list", elements="dict", default=[], options=PEER),
    data_elsewhere=dict(type="dict", default={}),
    data_directory=dict(type="path", required=True),
    wal_directory=dict(type="path"),
    configuration=dict(type="path", required=True),
    unit=dict(type="str", required=True),
    health_url=dict(type="str", required=True),
    reads=dict(type="list", elements="path", default=[]),
)
ARGUMENTS = dict(
    state=dict(type="str", choices=["observed", "started", "joined", "absent", "retired"], default="joined"),
    name=dict(type="str", required=True),
    members=dict(type="list", elements="dict", default=[], options=PEER),
    member=dict(type="str"),
    removed=dict(type="list", elements="str", default=[]),
    data_elsewhere=dict(type="dict", default={}),
    data_directory=dict(type="path", default="/var/lib/etcd"),
    wal_directory=dict(type="path"),
    configuration=dict(type="path", default="/etc/etcd/etcd.yaml"),
    pki=dict(type="path", default="/etc/etcd/pki"),
    etcdctl=dict(type="path", default="/usr/local/bin/etcdctl"),
    unit=dict(type="str", default="etcd.service"),
    health_url=dict(type="str", default="http://127.0.0.1:2381"),
    reads=dict(type="list", elements="path", default=[]),
    changing=dict(type="list", elements="path", default=[]),
    timeout_seconds=dict(type="int", default=180),
    also=dict(type="list", elements="dict", default=[], options=ALSO),
)


def one_member(given: t.Mapping[str, t.Any], check: bool) -> dict[str, t.Any]:
    """Bring one member of this host to the state; what the module returns of it."""
    wanted, paths = client.read_arguments(given)
    found: dict[str, t.Any] = {"actions": []}
    if given["state"] == "retired":
        found["actions"] = list(retirement.retire(paths, wanted.me.client_url, check))
    elif given["state"] != "observed":
        found["actions"], report = client.run_state(given["state"], wanted, paths, given, check)
        found["decision"] = report.decision.reason
        found["voters"] = sorted(member.name for member in core.voters_of(report.observed.members or ()))
    return {**found, "has_data": client.has_data(paths), "installed": retirement.installed(paths)}


def main() -> None:
    """Observe, decide, act, report."""
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        required_if=[("state", "absent", ["member"]), ("state", "retired", ["members"])],
        supports_check_mode=True,
    )
    found: dict[str, dict[str, t.Any]] = {}
    actions: list[str] = []
    for cluster, given in client.each_member(module.params):
        try:
            found[cluster] = one_member(given, module.check_mode)
        except (core.EtcdError, CommandError, OSError) as exc:
            module.fail_json(msg=f"etcd member {given['name']}{f' of {cluster}' if cluster else ''}: {exc}")
        actions += [f"{cluster}: {action}" if cluster else action for action in found[cluster]["actions"]]
    module.exit_json(
        **{
            **found.pop(""),
            "actions": actions,
            "changed": bool(actions),
            "also": found,
            "diff": {"before": "", "after": "".join(f"{action}\n" for action in actions)},
        }
    )


if __name__ == "__main__":
    main()
