# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of the role pki."""

from __future__ import annotations

import datetime
import typing as t

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import pki


def pki_key_holder(facts: t.Mapping[str, t.Mapping[str, t.Any]], default: str) -> str:
    """Return the control plane that has all secrets that any host has, else the first by name; ``default`` when no control plane answered."""
    hosts = [pki.Host.of(name, entry) for name, entry in facts.items()]
    return pki.key_holder(hosts, pki.survey(hosts, (), datetime.datetime.now(datetime.UTC))) or default


class FilterModule:
    """Registers the filters."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"pki_key_holder": pki_key_holder}
