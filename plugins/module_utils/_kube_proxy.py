# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kube-proxy on one node: do its rules carry the Services, and what does it leave behind when it is taken away?

kube-proxy takes nothing along when it ends: packets follow its rules until somebody removes them. Its chains are those of ``pkg/proxy/iptables`` and its table
that of ``pkg/proxy/nftables`` (Kubernetes 1.36); ``KUBE-FIREWALL``, ``KUBE-IPTABLES-HINT`` and ``KUBE-KUBELET-CANARY`` are the kubelet's and stay.
"""

from __future__ import annotations

import glob
import ipaddress
import os
import re
import socket
import typing as t
from dataclasses import dataclass

from ansible_collections.bare_metal.kubernetes.plugins.module_utils._command import CommandError, run
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._kube_api import KubeApi
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._node_reset import left_by_kube_proxy, switch_off
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._proof import watch

NAME, NAMESPACE = "kube-proxy", "kube-system"
RBAC = "rbac.authorization.k8s.io/v1"
#: what kubeadm makes for it (cmd/kubeadm/app/phases/addons/proxy); the workload first, the ConfigMap last: while it is there kubeadm sees an add-on
OBJECTS: tuple[tuple[str, str, str, str], ...] = (
    ("apps/v1", "DaemonSet", NAME, NAMESPACE),
    (RBAC, "ClusterRoleBinding", "kubeadm:node-proxier", ""),
    (RBAC, "RoleBinding", NAME, NAMESPACE),
    (RBAC, "Role", NAME, NAMESPACE),
    ("v1", "ServiceAccount", NAME, NAMESPACE),
    ("v1", "ConfigMap", NAME, NAMESPACE),
)
FAMILIES = {"ip": "iptables", "ip6": "ip6tables"}
CHAIN = re.compile(
    r"^KUBE-(SERVICES|EXTERNAL-SERVICES|NODEPORTS|POSTROUTING|MARK-MASQ|FORWARD|PROXY-FIREWALL|PROXY-CANARY|(SVC|SVL|FW|EXT|SEP)-\w+)$"
)
TARGET = re.compile(r"(?:^| )(?:-j|-g) (\S+)")
API_PORT = 443
CONNECT_SECONDS = 2.0


class KubeProxyError(Exception):
    """The node cannot be looked at; the message says why."""


@dataclass(frozen=True)
class Left:
    """What there is of kube-proxy on a node. ``scripts``: for each ``iptables`` and ``ip6tables`` the input of its ``-restore --noflush`` that takes the chains
    away.
    """

    process: bool = False
    tables: tuple[str, ...] = ()
    scripts: tuple[tuple[str, str], ...] = ()
    switches: tuple[str, ...] = ()

    @property
    def rules(self) -> list[str]:
        """Everything but the process, in words: what there is to take away."""
        chains = [f"{command}: {script.count('-X ')} chains" for command, script in self.scripts]
        return [
            *(f"nftables: table {table}" for table in self.tables),
            *chains,
            *(f"switch {path}" for path in self.switches),
        ]

    @property
    def words(self) -> list[str]:
        """Everything, in words."""
        return [*(["a process"] if self.process else []), *self.rules]


# --- pure


def removal(saved: str) -> str:
    """The input of ``iptables-restore --noflush`` that takes kube-proxy's chains and the jumps to them out of what ``iptables-save`` printed.

    One transaction a table, which names nothing else: rules that others write meanwhile stay. Empty when there is nothing of kube-proxy's.
    """
    found: list[str] = []
    for table in re.split(r"^(?=\*)", saved, flags=re.M):
        name = table.partition("\n")[0]
        lines = table.splitlines()[1:]
        chains = [line[1:].split()[0] for line in lines if line.startswith(":") and CHAIN.match(line[1:].split()[0])]
        if not name.startswith("*") or not chains:
            continue
        jumps = [
            line
            for line in lines
            if line.startswith("-A ") and not CHAIN.match(line.split()[1]) and jumps_to(line) in chains
        ]
        found += [name, *(f":{chain} - [0:0]" for chain in chains), *(f"-D {line[3:]}" for line in jumps)]
        found += [*(f"-X {chain}" for chain in chains), "COMMIT"]
    return "".join(f"{line}\n" for line in found)


def jumps_to(rule: str) -> str:
    """The chain that a rule jumps or goes to; quoted comments are no part of it."""
    target = TARGET.search(re.sub(r'"[^"]*"', '""', rule))
    return target.group(1) if target else ""


def service_addresses(cidrs: t.Iterable[str]) -> list[str]:
    """The API's own Service, by family: the first address of each network of Services. Only the first family has one."""
    return [str(ipaddress.ip_network(cidr)[1]) for cidr in list(cidrs)[:1]]


def carries(mode: str, address: str, rules: str) -> bool:
    """Does the node's rule set (``nft list table`` or ``iptables-save -t nat``) bring packets for this Service to a pod?

    kube-proxy writes all Services that it knows at once, and it begins when it knows them all: where the API's own is, the others are.
    """
    if mode == "nftables":
        return re.search(rf"(?<![\w.:]){re.escape(address)}(?![\w.:])", rules) is not None
    return re.search(rf"^-A KUBE-SERVICES -d {re.escape(address)}/\d+ .*-j KUBE-", rules, re.M) is not None


# --- observing


def running(root: str = "/") -> bool:
    """Is there a process of kube-proxy's?"""
    for path in glob.glob(os.path.join(glob.escape(root), "proc/[0-9]*/comm")):
        try:
            with open(path, encoding="utf-8", errors="replace") as stream:
                if stream.read().strip() == NAME:
                    return True
        except OSError:
            continue
    return False


def _said(argv: t.Sequence[str]) -> str:
    """What a program prints. A table that is not there has no rules; a program that is not there (the role ``os_prep`` installs them) could not be asked."""
    try:
        done = run(argv, timeout=60, check=False)
    except CommandError as exc:
        raise KubeProxyError(str(exc)) from exc
    return done.stdout if done.rc == 0 else ""


def observe() -> Left:
    """Look at the node.

    :raises KubeProxyError: a program is missing, or does not end.
    """
    tables = [
        line.split(None, 1)[1] for line in _said(["nft", "list", "tables"]).splitlines() if line.endswith(f" {NAME}")
    ]
    scripts = {command: removal(_said([f"{command}-save"])) for command in FAMILIES.values()}
    return Left(
        running(),
        tuple(table for table in tables if table.split()[0] in FAMILIES),
        tuple((command, script) for command, script in scripts.items() if script),
        left_by_kube_proxy() if any(scripts.values()) else (),
    )


def not_carried(mode: str, cidrs: t.Iterable[str]) -> list[str]:
    """Why Services are not carried by kube-proxy here, in words; empty when they are.

    :raises KubeProxyError: a program is missing, or does not end.
    """
    if not running():
        return ["kube-proxy does not run"]
    found = []
    for address in service_addresses(cidrs):
        family = "ip6" if ":" in address else "ip"
        argv = (
            ["nft", "list", "table", family, NAME] if mode == "nftables" else [f"{FAMILIES[family]}-save", "-t", "nat"]
        )
        if not carries(mode, address, _said(argv)):
            found.append(f"kube-proxy has written no {mode} rules for {address}")
    return found


def unanswered(cidrs: t.Iterable[str]) -> list[str]:
    """Services that do not answer this node: the API's own, which every cluster has."""
    found = []
    for address in service_addresses(cidrs):
        try:
            socket.create_connection((address, API_PORT), timeout=CONNECT_SECONDS).close()
        except OSError as exc:
            found.append(f"the Service of the API ({address}, port {API_PORT}) does not answer this node: {exc}")
    return found


# --- acting


def wait_carrying(mode: str, cidrs: t.Sequence[str], seconds: float | None) -> list[str]:
    """Wait until kube-proxy carries the Services of this node; return what is missing when the time is over.

    :param seconds: None looks once.
    """
    _seen, problems = watch(lambda: not_carried(mode, cidrs), lambda seen: seen, [NAME], KubeProxyError, seconds)
    return problems


def withdraw(api: KubeApi, *, dry_run: bool = False) -> list[str]:
    """Take kube-proxy out of the cluster; return what there was of it. Its pods end, its rules stay."""
    removed = []
    for api_version, kind, name, namespace in OBJECTS:
        metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
        obj = {"apiVersion": api_version, "kind": kind, "metadata": metadata}
        if api.delete(obj, dry_run=dry_run):
            removed.append(f"{kind} {namespace + '/' if namespace else ''}{name}")
    return removed


def clean(cidrs: t.Sequence[str], seconds: float, *, dry_run: bool = False) -> tuple[list[str], list[str]]:
    """Take what kube-proxy left out of the kernel, once it has ended; return what that was, and what is wrong in words.

    :raises KubeProxyError: the node cannot be looked at.
    :raises CommandError: a program failed.
    """
    left = observe()
    if dry_run:
        return left.rules, []
    _ended, problems = watch(
        running,
        lambda runs: ["kube-proxy still runs here, and would write its rules again"] if runs else [],
        True,
        OSError,
        seconds,
    )
    if problems:
        return [], problems
    left = observe()
    for table in left.tables:
        run(["nft", "delete", "table", *table.split()])
    for command, script in left.scripts:
        run([f"{command}-restore", "--noflush"], input_text=script)
    for path in left.switches:
        switch_off(path)
    again = [f"is there again: {rule}" for rule in observe().rules]
    return left.rules, again or watch(lambda: unanswered(cidrs), lambda seen: seen, [NAME], OSError, seconds)[1]
