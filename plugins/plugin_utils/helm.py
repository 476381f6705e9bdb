# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rendering a chart with the bundle's own helm, on the controller. No cluster is asked and nothing is downloaded.

The chart and the program are blobs of the store; both are hashed before they are used.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

TIMEOUT_SECONDS = 120
LAST_LINES = 15


class HelmError(Exception):
    """A chart cannot be rendered; the text is one complete message."""


@dataclass(frozen=True)
class StoredFile:
    """A file of the bundle: where its blob is, and what it must hash to."""

    path: Path
    sha256: str


@dataclass(frozen=True)
class Request:
    """What to render: ``release`` and ``namespace`` as Helm knows them, ``kube_version`` as ``v1.36.3``."""

    release: str
    namespace: str
    values: Mapping[str, Any]
    kube_version: str


def arguments(request: Request, chart: str) -> list[str]:
    """Arguments of helm. Values come on standard input: they may be long."""
    return [
        *("template", request.release, chart, f"--namespace={request.namespace}", "--values=-"),
        *(f"--kube-version={request.kube_version}", "--skip-tests"),
    ]


def environment(home: str) -> dict[str, str]:
    """Nothing of the user's own Helm settings, plugins or repositories."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HELM_")}
    places = {f"HELM_{kind}_HOME": f"{home}/{kind.lower()}" for kind in ("CACHE", "CONFIG", "DATA")}
    return {**kept, **places, "HOME": home, "LC_ALL": "C", "KUBECONFIG": "/dev/null"}


def documents(text: str) -> list[dict[str, Any]]:
    """The objects that helm printed."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return [document for document in yaml.load_all(text.encode(), Loader=loader) if document]
    except yaml.YAMLError as error:
        raise HelmError(f"helm printed what is not YAML: {error}") from error


def _place(file: StoredFile, target: Path, mode: int) -> None:
    """A copy of a blob, hashed while it is copied."""
    try:
        content = file.path.read_bytes()
    except OSError as error:
        raise HelmError(
            f"{target.name} is not in the bundle's store: {error}. Run the playbook bundle again."
        ) from error
    found = hashlib.sha256(content).hexdigest()
    if found != file.sha256:
        raise HelmError(
            f"{target.name} in the bundle's store is damaged: {found}, wanted {file.sha256}. Run the playbook bundle again."
        )
    target.write_bytes(content)
    target.chmod(mode)


def _run(argv: list[str], home: str, values: str) -> str:
    try:
        done = subprocess.run(
            argv,
            input=values,
            env=environment(home),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise HelmError(f"helm did not end within {TIMEOUT_SECONDS} s") from error
    except OSError as error:
        if error.errno == errno.ENOEXEC:
            raise HelmError(
                f"the bundle's helm is for the nodes' architecture and does not run on this controller ({platform.machine()}); "
                "run from a controller of the nodes' architecture (cluster_architecture)"
            ) from error
        raise HelmError(f"helm cannot be run: {error}") from error
    if done.returncode != 0:
        lines = "\n".join(done.stderr.strip().splitlines()[-LAST_LINES:])
        raise HelmError(f"helm refuses the chart or its values:\n{lines}")
    return done.stdout


def render(helm: StoredFile, chart: StoredFile, request: Request) -> list[dict[str, Any]]:
    """The chart's objects, in helm's order.

    :raises HelmError: a damaged blob, values that the chart refuses, a program that does not run.
    """
    with tempfile.TemporaryDirectory(prefix="bare-metal-kubernetes-helm-") as home:
        program, archive = Path(home) / "helm", Path(home) / "chart.tgz"
        _place(helm, program, 0o700)
        _place(chart, archive, 0o600)
        text = _run([str(program), *arguments(request, str(archive))], home, json.dumps(request.values))
    return documents(text)
