# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the inventory says of other hosts, evaluated once in a run.

Each look into ``hostvars`` puts all variables of that host together anew (milliseconds), and its templates are compiled anew. A task of every host that
asks for something of every host does that for their square, in processes that share nothing. So what filters ask of *other* hosts is kept in a file of
the run's own temporary folder, which Ansible removes at its end.

Only values that cannot change in a run are kept: of :data:`NAMES`, and as plain values or as templates that go back to nothing but the inventory.
Facts, lookups and what tasks registered are evaluated each time. Values come without role defaults, as in ``hostvars``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jinja2
from ansible import constants
from ansible.vars.hostvars import HostVars
from jinja2 import nodes

Variables = Mapping[str, Any]

#: asked of other hosts: addresses, places and sizes, no secrets
NAMES = frozenset(
    {
        "ansible_host",
        "cluster_api_endpoint_bgp_peers",
        "cluster_api_endpoint_bgp_source",
        "cluster_bgp_as_number",
        "cluster_bgp_peers",
        "cluster_bgp_route_reflector",
        "cluster_network_plugin",
        "cluster_node_ip",
        "cluster_node_local_dns",
        "cluster_node_second_ip",
        "cluster_pod_cidrs",
        "cluster_pods_per_node",
        "cluster_rack",
    }
)
#: what a template may go back to beside the inventory's own variables: the same from the beginning to the end; the second line is Jinja's own
STEADY = frozenset({"inventory_hostname", "inventory_hostname_short", "groups", "group_names"})
STEADY |= {"dict", "namespace", "range"}
#: prefix of facts; these of it are the inventory's
FACTS = "ansible_"
OF_INVENTORY = frozenset({"ansible_host", "ansible_port", "ansible_user"})
BY_CHANCE = frozenset({"random", "shuffle"})
FILE = "bare-metal-others.json"
_GRAMMAR = jinja2.Environment()
_read_last: dict[Path, tuple[int, dict[str, dict[str, Any]]]] = {}


def known(hosts: Iterable[str], hostvars: Mapping[str, Variables], names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """``{host: {name: value}}`` of variables of :data:`NAMES`; names that a host does not have are left out.

    :raises KeyError: a name that is not kept, or a host that ``hostvars`` does not have. Errors of templates are Ansible's own.
    """
    wanted = sorted(set(names))
    if not set(wanted) <= NAMES:
        raise KeyError(f"not among the names of others.NAMES: {', '.join(sorted(set(wanted) - NAMES))}")
    if not isinstance(hostvars, HostVars):
        return {host: {name: hostvars[host][name] for name in wanted if name in hostvars[host]} for host in hosts}
    path = Path(constants.DEFAULT_LOCAL_TMP) / FILE
    memory = _read(path)
    learned = False
    found: dict[str, dict[str, Any]] = {}
    for host in hosts:
        of_host = memory.setdefault(str(host), {})
        missing = [name for name in wanted if name not in of_host]
        fresh: dict[str, Any] = {}
        if missing:
            variables = hostvars[host]
            raw = hostvars.raw_get(host)
            for name in missing:
                fresh[name] = [variables[name]] if name in raw else []
                if is_steady(name, raw) and (kept := plain(fresh[name])) is not None:
                    of_host[name] = kept
                    learned = True
        entries = {**of_host, **fresh}
        found[host] = {name: entries[name][0] for name in wanted if entries[name]}
    if learned:
        _write(path, memory)
    return found


def plain(value: Any) -> Any:
    """The value as JSON would give it back; None when that would be another one."""
    try:
        copy = json.loads(json.dumps(value))
    except (TypeError, ValueError):
        return None
    return copy if copy == value else None


def is_steady(name: str, raw: Variables) -> bool:
    """Whether a variable's value follows from the inventory alone, so that it is the same whenever it is asked for. ``raw``: unevaluated variables."""
    todo, seen = [name], {name}
    while todo:
        now = todo.pop()
        if now in STEADY or (now not in raw and now == name):
            continue
        if now not in raw or (now.startswith(FACTS) and now not in OF_INVENTORY):
            return False
        mentioned = _mentioned(raw[now])
        if mentioned is None:
            return False
        todo += [other for other in mentioned if other not in seen]
        seen |= mentioned
    return True


def _mentioned(value: Any) -> set[str] | None:
    """Names that the templates in a value use; None when one cannot be read."""
    if isinstance(value, str):
        if "{{" not in value and "{%" not in value:
            return set()
        try:
            tree = _GRAMMAR.parse(str(value))
        except jinja2.TemplateError:
            return None
        if any(node.name in BY_CHANCE for node in tree.find_all(nodes.Filter)):
            return None
        used = list(tree.find_all(nodes.Name))
        return {node.name for node in used} - {node.name for node in used if node.ctx == "store"}
    children = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    found: set[str] = set()
    for child in children:
        of_child = _mentioned(child)
        if of_child is None:
            return None
        found |= of_child
    return found


def _read(path: Path) -> dict[str, dict[str, Any]]:
    """What is kept; read once in a process as long as it stays the same."""
    try:
        stamp = path.stat().st_mtime_ns
        if _read_last.get(path, (0, {}))[0] != stamp:
            _read_last[path] = (stamp, json.loads(path.read_bytes()))
    except (OSError, ValueError):
        return {}
    return _read_last[path][1]


def _write(path: Path, memory: Mapping[str, Any]) -> None:
    """Replace the file. Of processes that write at once one wins, and the others' values are evaluated again when they are asked for."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        draft.write_text(json.dumps(memory), encoding="utf-8")
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
