# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the arguments that module_utils/_kube_api.py adds to a module."""

from __future__ import annotations


class ModuleDocFragment:
    """Where the API is and how to be let in."""

    DOCUMENTATION = r"""
options:
  kubeconfig:
    description: A kubeconfig on the target, with a client certificate or a token.
    type: path
    default: /etc/kubernetes/admin.conf
  api_server:
    description: URL that replaces the kubeconfig's, C(https://192.0.2.1:6443), to ask one certain API server.
    type: str
    default: ''
  tls_server_name:
    description: Name that the server's certificate must carry, instead of the address that is called.
    type: str
    default: ''
  api_deadline_seconds:
    description: How long refused connections and passing errors are tried again.
    type: int
    default: 60
"""
