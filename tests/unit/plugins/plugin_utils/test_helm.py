"""Rendering a chart with a program of the store: a small script stands for helm."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import helm as subject
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.helm import HelmError, Request, StoredFile, render

REQUEST = Request("cilium", "kube-system", {"bpf": {"masquerade": True}}, "v1.36.3")
SCRIPT = """#!/bin/sh
printf 'kind: Told\\narguments: "%s"\\nhome: "%s"\\nplugins: "%s"\\nvalues: ' "$*" "$HELM_CACHE_HOME" "${HELM_PLUGINS:-none}"
cat
printf '\\n---\\n---\\nkind: Second\\n'
"""


def stored(directory: Path, name: str, content: str) -> StoredFile:
    path = directory / name
    path.write_text(content)
    path.chmod(0o444)
    return StoredFile(path, hashlib.sha256(content.encode()).hexdigest())


@pytest.fixture
def chart(tmp_path: Path) -> StoredFile:
    return stored(tmp_path, "chart", "the chart")


def test_the_chart_is_rendered_with_values_on_standard_input(
    tmp_path: Path, chart: StoredFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HELM_PLUGINS", "/home/somebody/plugins")
    first, second = render(stored(tmp_path, "helm", SCRIPT), chart, REQUEST)
    assert first["values"] == {"bpf": {"masquerade": True}}
    words = first["arguments"].split()
    assert words[:2] == ["template", "cilium"]
    assert words[2].endswith("/chart.tgz")
    assert words[3:] == ["--namespace=kube-system", "--values=-", "--kube-version=v1.36.3", "--skip-tests"]
    assert first["plugins"] == "none"
    # Nothing is left of where it ran.
    assert not Path(first["home"]).parent.exists()
    assert second == {"kind": "Second"}


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (
            "#!/bin/sh\necho 'Error: values do not meet the schema' >&2; exit 1\n",
            "helm refuses .*\nError: values do not",
        ),
        ("not a program", "does not run on this controller"),
        ("#!/nonexistent/interpreter\n", "helm cannot be run"),
        ("#!/bin/sh\necho 'a: [b'\n", "not YAML"),
    ],
)
def test_what_goes_wrong_is_told(tmp_path: Path, chart: StoredFile, script: str, words: str) -> None:
    with pytest.raises(HelmError, match=words):
        render(stored(tmp_path, "helm", script), chart, REQUEST)


def test_a_program_that_does_not_end(tmp_path: Path, chart: StoredFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "TIMEOUT_SECONDS", 0.2)
    with pytest.raises(HelmError, match=r"did not end within 0\.2 s"):
        render(stored(tmp_path, "helm", "#!/bin/sh\nexec sleep 5\n"), chart, REQUEST)


@pytest.mark.parametrize("which", ["helm", "chart"])
def test_a_damaged_blob_is_not_used(tmp_path: Path, which: str) -> None:
    files: dict[str, Any] = {name: stored(tmp_path, name, SCRIPT) for name in ("helm", "chart")}
    files[which] = StoredFile(files[which].path, "0" * 64)
    with pytest.raises(HelmError, match=r"store is damaged: .* wanted 0000"):
        render(files["helm"], files["chart"], REQUEST)


def test_a_missing_blob(tmp_path: Path, chart: StoredFile) -> None:
    with pytest.raises(HelmError, match="not in the bundle's store"):
        render(StoredFile(tmp_path / "none", "0" * 64), chart, REQUEST)


def test_documents_are_json_too() -> None:
    assert subject.documents(json.dumps({"kind": "A"})) == [{"kind": "A"}]
