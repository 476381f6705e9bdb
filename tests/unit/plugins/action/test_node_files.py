"""The action plugin of node_files, run by a real ansible-playbook against this machine's own files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleActionFail

from ansible_collections.bare_metal.kubernetes.plugins.action.node_files import dump

COLLECTIONS = Path(__file__).resolve().parents[4] / ".ansible" / "collections"

TEMPLATE = """\
{% include 'etc/part.j2' %}
value={{ demo_value }}
{% for word in demo_words %}
word={{ word }}
{% endfor %}
path=C:\\n{{ '\\n' | length }}

"""


def play(tmp_path: Path, tasks: list[dict[str, Any]], *options: str) -> subprocess.CompletedProcess[str]:
    role = tmp_path / "roles" / "demo"
    for name, content in (("templates/etc/a.j2", TEMPLATE), ("templates/etc/part.j2", "included {{ demo_value }}\n")):
        (role / name).parent.mkdir(parents=True, exist_ok=True)
        (role / name).write_text(content)
    (role / "tasks").mkdir(exist_ok=True)
    (role / "tasks" / "main.yml").write_text(json.dumps(tasks))
    variables = {"demo_value": "{{ 6 * 7 }}", "demo_words": ["a", "b"]}
    (tmp_path / "play.yml").write_text(
        json.dumps([{"hosts": "localhost", "gather_facts": False, "vars": variables, "roles": ["demo"]}])
    )
    (tmp_path / "ansible.cfg").write_text("[defaults]\n")
    argv = [
        sys.executable,
        "-m",
        "ansible",
        "playbook",
        "-i",
        "localhost,",
        "-c",
        "local",
        str(tmp_path / "play.yml"),
        *options,
    ]
    settings = {
        "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg"),
        "ANSIBLE_LOCAL_TEMP": str(tmp_path / "local"),
        "ANSIBLE_REMOTE_TEMP": str(tmp_path / "remote"),
    }
    return subprocess.run(
        argv, env={**os.environ, **settings}, capture_output=True, text=True, timeout=120, check=False
    )


def node_files(**arguments: Any) -> dict[str, Any]:
    return {"name": "Install the files", "bare_metal.kubernetes.node_files": arguments}


def test_a_template_becomes_what_the_builtin_makes_of_it(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    done = play(
        tmp_path,
        [
            {
                "name": "Builtin",
                "ansible.builtin.template": {"src": "etc/a.j2", "dest": f"{out}/builtin", "mode": "0644"},
            },
            node_files(
                files=[
                    {"path": f"{out}/ours", "template": "etc/a.j2"},
                    {"path": f"{out}/other", "template": "etc/a.j2", "variables": {"demo_value": "its own"}},
                ]
            ),
        ],
    )
    assert done.returncode == 0, done.stdout
    assert "value=its own" in (out / "other").read_text(), "one template, two files"
    assert (out / "ours").read_bytes() == (out / "builtin").read_bytes()
    assert "value=42" in (out / "ours").read_text()


def test_secrets_are_in_no_output_and_nothing_changes_twice(tmp_path: Path) -> None:
    out = tmp_path / "out"
    task = node_files(
        files=[
            {"path": f"{out}/secret", "content": "CANARY-{{ demo_value }}\n", "secret": True},
            {"path": f"{out}/public", "data": {"demo": "{{ demo_words }}"}, "format": "json"},
        ]
    )
    first = play(tmp_path, [task], "-vvv", "--diff")
    assert first.returncode == 0, first.stdout
    assert (out / "secret").read_text() == "CANARY-42\n"
    assert json.loads((out / "public").read_text()) == {"demo": ["a", "b"]}
    assert "CANARY" not in first.stdout + first.stderr
    assert "Q0FOQVJZ" not in first.stdout + first.stderr  # the same in base64
    second = play(tmp_path, [task])
    assert "changed=0" in second.stdout


def test_check_mode_tells_and_does_not_touch(tmp_path: Path) -> None:
    done = play(tmp_path, [node_files(files=[{"path": f"{tmp_path}/out/a", "content": "new\n"}])], "--check", "--diff")
    assert "changed=1" in done.stdout
    assert "+new" in done.stdout
    assert not (tmp_path / "out").exists()


def test_all_that_cannot_be_rendered_is_named_at_once(tmp_path: Path) -> None:
    files = [
        {"path": "/x/1", "template": "etc/none.j2"},
        {"path": "/x/2"},
        {"path": "/x/3", "content": "a", "data": {}},
        {"path": "/x/4", "content": "a", "mode": 644},
        {"path": "/x/5", "data": {}},
        {"content": "a"},
        {"path": "/x/7", "content": "a", "variables": {"demo_value": 1}},
    ]
    done = play(tmp_path, [node_files(files=files)])
    assert done.returncode != 0
    said = done.stdout + done.stderr
    for text in (
        "none.j2",
        "/x/2): exactly one of",
        "/x/3): exactly one of",
        "write it in quotes",
        "data needs 'format'",
        "files[5] (without a path)",
        "/x/7): 'variables' are a mapping, and a template's",
    ):
        assert text in said, text
    assert "Traceback" not in said


@pytest.mark.parametrize("style", ["yaml", "json"])
def test_data_survives_its_format(style: str) -> None:
    data = {
        "zeta": "1.30",
        "alpha": [1, True, None, "no", "0644"],
        "long": "x" * 300 + " y",
        "nested": {"b": {}, "a": "ü"},
    }
    text = dump(data, style)
    assert yaml.safe_load(text) == data
    assert text.index("zeta") < text.index("alpha")
    assert text.endswith("\n")


def test_documents_are_separated() -> None:
    assert dump([{"a": 1}, {"b": 2}], "yaml_documents") == "---\na: 1\n---\nb: 2\n"


@pytest.mark.parametrize(("data", "style"), [({}, None), ({}, "toml"), ({}, "yaml_documents")])
def test_formats_that_do_not_fit_are_refused(data: Any, style: str | None) -> None:
    with pytest.raises(AnsibleActionFail):
        dump(data, style)
