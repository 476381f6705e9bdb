# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Renders the templates and data of node_files on the controller and hands the texts to the module."""

from __future__ import annotations

import base64
import json
import os
import typing as t

import yaml
from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.template import trust_as_template

from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils.interpreter import NodeAction

MODULE = "bare_metal.kubernetes.node_files"
SOURCES = ("content", "template", "data")
FORMATS = ("json", "yaml", "yaml_documents")


def dump(data: t.Any, style: str | None) -> str:
    """Write data as text that is the same for the same data: keys stay in their order, lines are not folded."""
    if style not in FORMATS:
        raise AnsibleActionFail(f"data needs 'format', one of {', '.join(FORMATS)}; it is {style!r}")
    plain = json.loads(json.dumps(data))
    if style == "json":
        return json.dumps(plain, indent=2, ensure_ascii=False) + "\n"
    options: dict[str, t.Any] = {"sort_keys": False, "allow_unicode": True, "width": 2**20, "default_flow_style": False}
    if style == "yaml":
        return yaml.safe_dump(plain, **options)
    if not isinstance(plain, list):
        raise AnsibleActionFail("format 'yaml_documents' needs a list, one entry for each document")
    return yaml.safe_dump_all(plain, explicit_start=True, **options)


class ActionModule(NodeAction):
    """Render on the controller, then one module call on the target."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Render every file of the call, report all that cannot be rendered at once, run the module."""
        variables = task_vars or {}
        super().run(tmp, variables)
        files: list[dict[str, t.Any]] = []
        secrets: dict[str, str] = {}
        problems: list[str] = []
        entries = self._task.args.get("files") or []
        if not isinstance(entries, list):
            raise AnsibleActionFail("'files' is not a list")
        for index, entry in enumerate(entries):
            try:
                file, text = self._render(entry, variables)
            except (AnsibleError, TypeError, ValueError) as exc:
                path = entry.get("path") if isinstance(entry, dict) else None
                problems.append(f"files[{index}] ({path or 'without a path'}): {exc}")
                continue
            if file.get("secret"):
                secrets[file["path"]] = base64.b64encode(text.encode()).decode()
            else:
                file["content"] = text
            files.append(file)
        if problems:
            raise AnsibleActionFail("\n".join(problems))
        arguments = {**self._task.args, "files": files, "secret_contents": secrets}
        result = self._execute_module(module_name=MODULE, module_args=arguments, task_vars=variables)
        result.pop("invocation", None)  # all texts once more, of which the controller has no use
        return result

    def _render(self, entry: t.Any, variables: dict[str, t.Any]) -> tuple[dict[str, t.Any], str]:
        """Return the module's arguments for one file, and its text."""
        if not isinstance(entry, dict) or not isinstance(entry.get("path"), str):
            raise AnsibleActionFail("a file is a mapping with a 'path'")
        if not isinstance(entry.get("mode", ""), (str, type(None))):
            raise AnsibleActionFail(f"mode is the number {entry['mode']}: write it in quotes, as in '0644'")
        given = [key for key in SOURCES if entry.get(key) is not None]
        if len(given) != 1:
            raise AnsibleActionFail(
                f"exactly one of {', '.join(SOURCES)} is needed; given: {', '.join(given) or 'none'}"
            )
        more = entry.get("variables") or {}
        if not isinstance(more, dict) or (more and given != ["template"]):
            raise AnsibleActionFail("'variables' are a mapping, and a template's")
        file = {key: value for key, value in entry.items() if key not in (*SOURCES, "format", "variables")}
        if given == ["template"]:
            return file, self._render_template(entry["template"], {**variables, **more})
        if given == ["data"]:
            return file, dump(entry["data"], entry.get("format"))
        if not isinstance(entry["content"], str):
            raise AnsibleActionFail("content is not text; use 'data' with 'format' for data")
        return file, entry["content"]

    def _render_template(self, name: str, variables: dict[str, t.Any]) -> str:
        """Render a template of the calling role with the task's variables, as the builtin template action does."""
        source = self._find_needle("templates", name)
        roots = [*(variables.get("ansible_search_path") or []), self._loader.get_basedir(), os.path.dirname(source)]
        search_path = [path for root in roots for path in (os.path.join(root, "templates"), root)]
        templar = self._templar.copy_with_new_env(searchpath=search_path, available_variables=variables)
        text = templar.template(
            trust_as_template(self._loader.get_text_file_contents(source)), escape_backslashes=False
        )
        if not isinstance(text, str):
            raise AnsibleActionFail(
                f"the template {name} makes a {type(text).__name__}, not text; end it with a line break or use a filter"
            )
        return text
