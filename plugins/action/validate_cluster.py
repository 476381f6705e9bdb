# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Evaluates the variables of every host on the controller and hands them, as plain data, to the pure core. Opens no connection."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jinja2
from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.parsing.vault import EncryptedString
from ansible.plugins.action import ActionBase
from ansible.template import Templar

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import (
    addresses,
    bundle_lock,
    cluster_schema,
    others,
)
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.bundle_manifest import BundleError
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster import render, validate
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster_model import (
    CLUSTER_GROUPS,
    ClusterInput,
    Host,
    Report,
    key_of,
)
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster_rules import COMPUTED_VARIABLES

try:
    from ansible._internal._datatag._tags import Origin  # where a value was read; no public name yet
except ImportError:
    Origin = None

ROLES = Path(__file__).resolve().parents[2] / "roles"
# A value may not unfold (YAML aliases of aliases) into more than this many parts, or be nested deeper.
MOST_PARTS, DEEPEST = 20_000, 40
CONTROLLER = "localhost"
EVALUATED_GROUPS = (*CLUSTER_GROUPS, "bundle_server", "routers")


class TooLargeError(Exception):
    """A value that unfolds beyond what any variable needs."""


class ActionModule(ActionBase):
    """Entry point of the action."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False
    _VALID_ARGS: frozenset[str] = frozenset()

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the capacity and warnings, or a failure with every error in its message."""
        result = super().run(tmp, task_vars)
        if addresses.NETADDR_MISSING:
            raise AnsibleError(
                f"validate_cluster needs the Python library netaddr on the controller: {addresses.NETADDR_MISSING}"
            )
        try:
            given = Inventory(self._loader, task_vars or {}).read()
        except BundleError as error:
            raise AnsibleError(str(error)) from error
        result |= outcome(validate(given), given.groups)
        if result.get("failed"):
            # Raised, not returned: so the list is printed line by line.
            raise AnsibleActionFail(result["msg"], result=result)
        # The tasks that follow ask for these of every host, each in a process of its own.
        members = {host for group in CLUSTER_GROUPS for host in given.groups.get(group, ())}
        others.known(sorted(members), (task_vars or {})["hostvars"], others.NAMES)
        return result


def outcome(report: Report, groups: Mapping[str, Any]) -> dict[str, Any]:
    """The task's result for a verdict."""
    result: dict[str, Any] = {"changed": False, "capacity": dict(report.capacity)}
    result["problems"] = [
        {
            "rule": problem.rule,
            "level": "warning" if problem.warning else "error",
            "variable": problem.variable,
            "value": problem.value,
            "hosts": list(problem.hosts),
            "source": problem.source,
            "reason": problem.reason,
            "fix": problem.fix,
        }
        for problem in (*report.errors, *report.warnings)
    ]
    if report.warnings:
        result["warnings"] = [
            f"{problem.variable}{f' = {problem.value}' if problem.value else ''} {problem.reason} ({problem.fix})"
            for problem in report.warnings
        ]
    if report.errors:
        count = len(report.errors)
        head = f"The inventory cannot work: {count} error{'s' if count > 1 else ''}. Nothing was changed, no host was contacted."
        result |= {"failed": True, "msg": f"{head}\n{render(report.errors, groups)}"}
    else:
        nodes = report.capacity["control_planes"] + report.capacity["workers"]
        result["msg"] = f"The inventory is valid: {nodes} nodes for {report.capacity['pods']} pods."
    return result


class Inventory:
    """Ansible's inventory as :class:`ClusterInput`. Templates are evaluated as Ansible does for the host; their failures are data."""

    def __init__(self, loader: Any, task_vars: Mapping[str, Any]) -> None:
        self._loader = loader
        self._hostvars = task_vars["hostvars"]
        self._groups = {str(name): [str(host) for host in hosts] for name, hosts in task_vars["groups"].items()}
        self._specs = cluster_schema.load_specs(ROLES)
        # The private variables too: a default may refer to one.
        self._defaults: dict[str, Any] = {}
        for role in self._specs:
            for path in (ROLES / role / "defaults" / "main.yml", ROLES / role / "vars" / "main.yml"):
                if path.is_file():
                    self._defaults |= loader.load_from_file(str(path), trusted_as_template=True) or {}
        self._defaults = {name: value for name, value in self._defaults.items() if name not in COMPUTED_VARIABLES}
        self._names = [name for role in self._specs.values() for name in role if name not in COMPUTED_VARIABLES]
        self._near: dict[str, bool] = {}
        self._inputs: dict[str, tuple[str, ...]] = {}
        self._memory: dict[tuple[str, ...], Any] = {}
        self._plain: dict[int, tuple[Any, bool]] = {}  # by identity; the value is kept, so that no other gets its id
        self._base = Path(loader.get_basedir())

    def read(self) -> ClusterInput:
        """All hosts; variables are evaluated for those that have a part in the cluster."""
        evaluated = {host for group in EVALUATED_GROUPS for host in self._groups.get(group, ())}
        names = sorted({host for hosts in self._groups.values() for host in hosts})
        lock = bundle_lock.load_lock()
        unbuildable = dict(_unbuildable(lock))
        return ClusterInput(
            hosts=tuple(self._host(name, name in evaluated) for name in names),
            groups=self._groups,
            specs=self._specs,
            kubernetes_versions={name: lock.kubernetes_versions(name) for name in lock.release_sets},
            unbuildable=unbuildable,
            images={name: _images(lock, name, name not in unbuildable) for name in lock.release_sets},
            controller=self._host(CONTROLLER, True),
            component_versions={name: dict(lock.release(name).versions) for name in lock.release_sets},
        )

    def _host(self, name: str, evaluated: bool) -> Host:
        raw = self._hostvars.raw_get(name)
        given = {str(key): self._origin(key, value) for key, value in raw.items() if self._is_ours(str(key))}
        if not evaluated:
            return Host(name, given=given)
        variables: dict[str, Any] = {}
        failures: dict[str, str] = {}
        templar = Templar(self._loader, ChainMap({"hostvars": self._hostvars}, raw, self._defaults))
        for variable in self._names:
            if variable in raw:
                value = raw[variable]
            elif variable in self._defaults:
                value = self._defaults[variable]
                if not variable.startswith("cluster_") and not self._is_plain(value, templar):
                    # It follows from cluster_* variables, and those are judged; some walk over all hosts, which for every host is a square.
                    continue
            else:
                continue
            try:
                if not self._is_plain(value, templar):
                    key = () if variable in raw else self._key(variable, value, raw, templar)
                    value = self._memory[key] if key in self._memory else templar.template(value)
                    measure(value)
                    if key:
                        self._memory[key] = value
            except TooLargeError as error:
                failures[variable] = str(error)
            except Exception as error:  # whatever a template or a plugin in it raises is a finding, not a crash
                failures[variable] = first_line(error)
            else:
                variables[variable] = value
        secrets = frozenset(key for key in given if key in raw and has_secret(raw[key]))
        return Host(name, variables, given, failures, secrets)

    def _is_plain(self, value: Any, templar: Templar) -> bool:
        """Is there nothing to evaluate in a value? Group variables and defaults are the same objects for many hosts and are looked at once."""
        if id(value) not in self._plain:
            measure(value)
            self._plain[id(value)] = (value, not has_secret(value) and not templar.is_template(value))
        return self._plain[id(value)][1]

    def _key(self, variable: str, template: Any, raw: Mapping[str, Any], templar: Templar) -> tuple[str, ...]:
        """By what the value of a default of ours is known again on another host: the plain values that it refers to; empty when one is not plain.

        Compiling a template for each host is most of the time that a large inventory takes.
        """
        if variable not in self._inputs:
            names = (
                jinja2.Environment().parse(template).find_all(jinja2.nodes.Name) if isinstance(template, str) else ()
            )
            self._inputs[variable] = tuple(sorted({name.name for name in names}))
        values = [raw[name] if name in raw else self._defaults.get(name) for name in self._inputs[variable]]
        if not isinstance(template, str) or not all(self._is_plain(value, templar) for value in values):
            return ()
        return (variable, *map(key_of, values))

    def _is_ours(self, name: str) -> bool:
        """Is it worth a look: in our prefixes, or nearly one of our names?"""
        if name not in self._near:
            prefixes = tuple(f"{role}_" for role in self._specs)
            own = name.startswith(prefixes) or (name.startswith("__") and name[2:].startswith(prefixes))
            foreign = name.startswith(("ansible_", "lab_")) or name in ("groups", "group_names", "hostvars", "omit")
            self._near[name] = own or (not foreign and bool(cluster_schema.suggestion(name, self._names)))
        return self._near[name]

    def _origin(self, key: Any, value: Any) -> str:
        origin = None if Origin is None else Origin.get_tag(value) or Origin.get_tag(key)
        if origin is None:
            return ""
        if not origin.path:
            return str(origin.description or "")
        path = Path(str(origin.path))
        for base in (Path.cwd(), self._base):
            if path.is_relative_to(base):
                path = path.relative_to(base)
                break
        return f"{path}:{origin.line_num}" if origin.line_num else str(path)


def _unbuildable(lock: bundle_lock.Lock) -> Iterator[tuple[str, str]]:
    for name in lock.release_sets:
        try:
            for component, version in lock.release(name, features=lock.features).versions.items():
                lock.build_recipe(component, version)
        except BundleError as error:
            yield name, str(error)


def _images(lock: bundle_lock.Lock, release_set: str, buildable: bool) -> frozenset[str]:
    """The last two parts of the names of a release set's images, compiled when the set can be compiled, else as they are published."""
    found: set[str] = set()
    for component, version in lock.release(release_set, features=lock.features).versions.items():
        if buildable or not lock.has_upstream(component):
            found |= {image.name for image in lock.build_recipe(component, version).images}
        else:
            found |= {image.name for image in lock.upstream_images(component, version, "amd64")}
    return frozenset("/".join(name.split("/")[-2:]) for name in found)


def measure(value: Any) -> None:
    """Refuse what unfolds too far, before anything walks all of it."""
    stack, parts = [(value, 0)], 0
    while stack:
        item, depth = stack.pop()
        parts += 1
        if parts > MOST_PARTS or depth > DEEPEST:
            raise TooLargeError(f"it unfolds to more than {MOST_PARTS} parts or {DEEPEST} levels")
        if isinstance(item, Mapping):
            stack += [(child, depth + 1) for child in item.values()]
        elif isinstance(item, (list, tuple)):
            stack += [(child, depth + 1) for child in item]


def has_secret(value: Any) -> bool:
    """Is there something from a vault in it? Called on measured values only, or stops like :func:`measure`."""
    stack, parts = [value], 0
    while stack and parts < MOST_PARTS:
        item = stack.pop()
        parts += 1
        if isinstance(item, EncryptedString):
            return True
        if isinstance(item, Mapping):
            stack += item.values()
        elif isinstance(item, (list, tuple)):
            stack += item
    return False


def first_line(error: Exception) -> str:
    """An exception in one bounded line."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:300]
