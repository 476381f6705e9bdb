# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules about etcd's own settings (``etcd_extra_arguments``): etcd reads its file leniently, so what it does not know is silent. Pure.

The tables are the fields of ``Config``, ``configJSON`` and ``securityConfig`` in server/embed/config.go of etcd v3.6.8 and v3.7.3.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster_model import (
    Host,
    Problem,
    Rule,
    View,
    registry,
)
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.cluster_schema import SHOWN_CHARACTERS, suggestion

RULES: dict[str, Rule] = {}
rule = registry(RULES)

VARIABLE = "etcd_extra_arguments"


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


FIELDS = _names(
    """
    advertise-client-urls auth-token auth-token-ttl auto-compaction-mode auto-compaction-retention backend-batch-interval backend-batch-limit
    backend-bbolt-freelist-type bcrypt-cost bootstrap-defrag-threshold-megabytes cipher-suites client-transport-security compact-hash-check-time
    compaction-batch-limit compaction-sleep-interval corrupt-check-time cors data-dir discovery-config discovery-srv discovery-srv-name
    distributed-tracing-address distributed-tracing-instance-id distributed-tracing-sampling-rate distributed-tracing-service-name
    downgrade-check-time election-timeout enable-distributed-tracing enable-grpc-gateway enable-log-rotation enable-pprof feature-gates
    force-new-cluster grpc-additional-server-options grpc-keepalive-interval grpc-keepalive-min-time grpc-keepalive-timeout heartbeat-interval
    host-whitelist initial-advertise-peer-urls initial-cluster initial-cluster-state initial-cluster-token initial-election-tick-advance
    listen-client-http-urls listen-client-urls listen-metrics-urls listen-peer-urls log-format log-level log-outputs log-rotation-config-json logger
    max-concurrent-streams max-learners max-request-bytes max-snapshots max-txn-ops max-wals memory-mlock metrics name peer-transport-security
    pre-vote quota-backend-bytes self-signed-cert-validity snapshot-catchup-entries snapshot-count socket-options strict-reconfig-check
    tls-max-version tls-min-version unsafe-no-fsync v2-deprecation wal-dir warning-apply-duration warning-unary-request-duration
    watch-progress-notify-interval
    """
)
# {minor version of etcd 3 that no longer has them: names}
REMOVED: Mapping[int, frozenset[str]] = {
    7: _names(
        """
        discovery discovery-proxy experimental-bootstrap-defrag-threshold-megabytes experimental-compact-hash-check-enabled
        experimental-compact-hash-check-time experimental-compaction-batch-limit experimental-compaction-sleep-interval experimental-corrupt-check-time
        experimental-distributed-tracing-address experimental-distributed-tracing-instance-id experimental-distributed-tracing-sampling-rate
        experimental-distributed-tracing-service-name experimental-downgrade-check-time experimental-enable-distributed-tracing
        experimental-enable-lease-checkpoint experimental-enable-lease-checkpoint-persist experimental-initial-corrupt-check experimental-memory-mlock
        experimental-peer-skip-client-san-verification experimental-snapshot-catch-up-entries experimental-stop-grpc-service-on-defrag
        experimental-txn-mode-write-with-shared-buffer experimental-warning-apply-duration experimental-warning-unary-request-duration
        experimental-watch-progress-notify-interval
        """
    ),
}
SECURITY = ("client-transport-security", "peer-transport-security")
SECURITY_FIELDS = _names(
    """
    allowed-cn allowed-hostname auto-tls cert-file client-cert-auth client-cert-file client-key-file key-file skip-client-san-verification
    trusted-ca-file
    """
)


def target_minor(view: View) -> int | None:
    """The minor version of etcd 3 that the release set installs."""
    versions = view.input.component_versions.get(view.common("cluster_release_set")) or {}
    found = re.match(r"v?3\.(\d+)\.", str(versions.get("etcd", "")))
    return int(found.group(1)) if found else None


@rule
def etcd_fields(view: View) -> Iterator[Problem]:
    """A misspelt or removed field of etcd's file is silent: the member runs without it."""
    yield from unknown_fields(view, VARIABLE)


def unknown_fields(view: View, variable: str) -> Iterator[Problem]:
    """Fields of a variable that is merged over etcd's file and that etcd does not know."""
    minor = target_minor(view)
    for host, like in view.alike(view.group("etcd"), variable):
        for name, value in (view.value(host, variable) or {}).items():
            if name in SECURITY and isinstance(value, Mapping):
                for inner in value:
                    if inner not in SECURITY_FIELDS:
                        path = f"{variable}.{name}.{inner}"
                        yield replace(_unknown(view, host, path, str(inner), value[inner], SECURITY_FIELDS), hosts=like)
            elif name not in FIELDS:
                yield replace(_field(view, host, variable, str(name), value, minor), hosts=like)


def _field(view: View, host: Host, variable: str, name: str, value: Any, minor: int | None) -> Problem:
    since = next((since for since, names in REMOVED.items() if name in names), None)
    path = f"{variable}.{name}"
    if since is None:
        return _unknown(view, host, path, name, value, FIELDS)
    now = name.replace("experimental-", "", 1)
    fix = f"write {now}" if now in FIELDS else "take it out; some of these are feature gates now (feature-gates)"
    if minor is not None and minor >= since:
        reason = f"is a field that etcd does not have since v3.{since}, and v3.{minor} ignores it without a word"
        return view.about(host, path, reason, fix, value=value)
    return view.about(host, path, f"is a field that goes with etcd v3.{since}", fix, value=value, warning=True)


def _unknown(view: View, host: Host, path: str, name: str, value: Any, known: frozenset[str]) -> Problem:
    fix = suggestion(name, known) or "see etcd's configuration file, etcd.io"
    return view.about(
        host,
        path[: len(VARIABLE) + SHOWN_CHARACTERS],
        "is not a field of etcd's configuration file, and etcd ignores it without a word",
        fix,
        value=value,
    )
