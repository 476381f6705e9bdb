"""The rules of the house, read off the tree: what no linter knows."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
ROLES = sorted(path for path in (ROOT / "roles").iterdir() if (path / "meta").is_dir())
MODULES = sorted((ROOT / "plugins" / "modules").glob("*.py"))
TASK_FILES = sorted((ROOT / "roles").glob("*/tasks/**/*.yml"))
PLAYBOOKS = sorted((ROOT / "playbooks").glob("*.yml"))
YAML_CODE = [*TASK_FILES, *PLAYBOOKS, *sorted((ROOT / "roles").glob("*/handlers/*.yml"))]
LONGEST_TASK_FILE = 150
LONGEST_MODULE_CODE = 120  # lines that are neither documentation nor blank
STEPS = {"assert", "install", "configure", "run", "verify"}


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def tracked() -> list[Path]:
    """Every file of the tree that git has or would take."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


class Loader(yaml.SafeLoader):
    """Reads Ansible's own tags as the plain values behind them."""


Loader.add_multi_constructor(
    "!", lambda loader, _suffix, node: loader.construct_scalar(node) if isinstance(node, yaml.ScalarNode) else None
)


def load(path: Path) -> Any:
    return yaml.load(path.read_text(encoding="utf-8"), Loader)  # noqa: S506  # a SafeLoader


def tasks_of(entries: Any) -> Iterator[dict[str, Any]]:
    """Every task of a task list or playbook, those in blocks too."""
    for entry in entries or ():
        inner = [
            key for key in ("block", "rescue", "always", "tasks", "pre_tasks", "post_tasks", "handlers") if key in entry
        ]
        if not inner:
            yield entry
        for key in inner:
            yield from tasks_of(entry[key])


# --- roles


@pytest.mark.parametrize("role", ROLES, ids=relative)
def test_role_is_complete(role: Path) -> None:
    assert (role / "README.md").is_file()
    assert (role / "defaults" / "main.yml").is_file()
    assert (role / "meta" / "main.yml").is_file()
    assert (role / "meta" / "argument_specs.yml").is_file()


@pytest.mark.parametrize("role", ROLES, ids=relative)
def test_role_starts_from_cluster(role: Path) -> None:
    """So that a role works in a play of its own."""
    if role.name != "cluster":
        dependencies = [entry["role"] for entry in load(role / "meta" / "main.yml")["dependencies"]]
        assert dependencies == ["bare_metal.kubernetes.cluster"]


def options_of(role: Path) -> dict[str, Any]:
    entry_points = load(role / "meta" / "argument_specs.yml")["argument_specs"]
    return {name: option for entry in entry_points.values() for name, option in (entry.get("options") or {}).items()}


@pytest.mark.parametrize("role", ROLES, ids=relative)
def test_defaults_and_specs_are_of_the_same_variables(role: Path) -> None:
    defaults, options = load(role / "defaults" / "main.yml") or {}, options_of(role)
    without_default = {name for name, option in options.items() if option.get("required")}
    assert set(defaults) == set(options) - without_default


# A default that is looked up or computed on the controller has no constant to say in the spec.
COMPUTED = re.compile(r"lookup\(|\bif\b|\|")


@pytest.mark.parametrize("role", ROLES, ids=relative)
def test_defaults_and_specs_say_the_same(role: Path) -> None:
    """Ansible does not apply a spec's default; it is documentation, and must be true."""
    defaults, options = load(role / "defaults" / "main.yml") or {}, options_of(role)
    for name, value in defaults.items():
        if isinstance(value, str) and (COMPUTED.search(value) or (role.name == "cluster" and "{{" in value)):
            continue
        if isinstance(value, str) and value.startswith("{{ __"):
            continue  # a private variable: the spec describes it
        if "default" not in options.get(name, {}):
            # It may be null, by itself or by what it refers to.
            assert value is None or str(value).startswith("{{ cluster_"), f"{name}: the spec has no default"
            continue
        said = options[name]["default"]
        assert said == value, f"{name}: the default is {value!r}, the spec says {said!r}"


@pytest.mark.parametrize("role", ROLES, ids=relative)
def test_variables_carry_the_roles_name(role: Path) -> None:
    assert all(name.startswith(f"{role.name}_") for name in load(role / "defaults" / "main.yml") or {})
    for path in sorted((role / "vars").glob("*.yml")):
        assert all(name.startswith(f"__{role.name}_") for name in load(path) or {}), relative(path)


@pytest.mark.parametrize("role", ROLES, ids=relative)
def test_no_role_reads_another_roles_variables(role: Path) -> None:
    others = [other.name for other in ROLES if other.name not in (role.name, "cluster")]
    foreign = re.compile(rf"(?<![\w.'\"/-])(?:__)?({'|'.join(others)})_[a-z]\w*")
    names = {
        name
        for other in ROLES
        if other.name not in (role.name, "cluster")
        for name in load(other / "defaults" / "main.yml") or {}
    }
    for path in sorted(role.rglob("*")):
        if path.suffix in (".yml", ".j2") and "files" not in path.parts and path.name != "argument_specs.yml":
            expressions = re.findall(r"\{[{%].*?[%}]\}", path.read_text(encoding="utf-8"), re.DOTALL)
            for match in (found for text in expressions for found in foreign.finditer(text)):
                name = match.group(0)
                assert not name.startswith("__") and name not in names, f"{relative(path)} reads {name}"


@pytest.mark.parametrize("role", [role for role in ROLES if (role / "tasks" / "main.yml").is_file()], ids=relative)
def test_main_is_a_table_of_contents(role: Path) -> None:
    for task in tasks_of(load(role / "tasks" / "main.yml")):
        assert any(key.endswith(("import_tasks", "include_tasks")) for key in task), task.get("name")


# --- tasks


@pytest.mark.parametrize("path", YAML_CODE, ids=relative)
def test_length(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_TASK_FILE


FORBIDDEN = {
    r"\bset_fact\b": "desired state is a lazy variable, observations are registered",
    r"\bignore_errors\b": "a failure is either possible and handled, or a failure",
    r"failed_when:\s*(false|no|False)\b": "the same in other words",
    r"groups\[[^\]]*\]\s*\[\s*0\s*\]|groups\.\w+\s*\[\s*0\s*\]|groups\[[^\]]*\]\s*\|\s*first": "no host is special by its place",
    r"\blineinfile\b|\bblockinfile\b": "whole files are rendered",
    r"ignore_unreachable": "an unreachable host is probed for, not passed over",
}


@pytest.mark.parametrize("path", YAML_CODE, ids=relative)
def test_nothing_forbidden(path: Path) -> None:
    code = "\n".join(
        line.split(" #")[0]
        for line in path.read_text(encoding="utf-8").splitlines()
        if not line.lstrip().startswith("#")
    )
    for pattern, why in FORBIDDEN.items():
        assert not re.search(pattern, code), f"{relative(path)}: {pattern}: {why}"


@pytest.mark.parametrize("path", TASK_FILES, ids=relative)
def test_task_names_begin_with_their_file(path: Path) -> None:
    prefix = " ".join(path.stem.split("_")).capitalize() + " | "
    for task in tasks_of(load(path)):
        if path.name == "main.yml" and any(key.endswith(("import_tasks", "include_tasks")) for key in task):
            continue
        assert str(task.get("name", "")).startswith(prefix), f"{task.get('name')!r} does not begin with {prefix!r}"


@pytest.mark.parametrize("path", YAML_CODE, ids=relative)
def test_commands_say_why_and_when_they_change(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    for task in tasks_of(load(path)):
        module = next((key for key in task if re.fullmatch(r"(ansible\.builtin\.)?(command|shell|raw)", key)), None)
        if module:
            assert "changed_when" in task, f"{task.get('name')} has no changed_when"
            start = next(index for index, line in enumerate(lines) if str(task.get("name")) in line)
            around = lines[max(0, start - 2) : start + 8]
            assert any("#" in line for line in around), f"{task.get('name')} does not say why no module does it"


@pytest.mark.parametrize("path", YAML_CODE, ids=relative)
def test_templates_carry_the_path_they_land_at(path: Path) -> None:
    for task in tasks_of(load(path)):
        for template in re.findall(r"src:\s*(\S+\.j2)", yaml.safe_dump(task)):
            role = path.parents[1] if path.parts[-2] == "tasks" else None
            assert role is None or (role / "templates" / template).is_file() or (role / template).is_file()


# --- modules


def code_lines(text: str) -> int:
    """Lines of a module that do something: without documentation strings, comments and blank lines."""
    tree = ast.parse(text)
    documented: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and any(
            getattr(target, "id", "") in ("DOCUMENTATION", "EXAMPLES", "RETURN") for target in node.targets
        ):
            documented.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
        if isinstance(node, (ast.Module, ast.FunctionDef, ast.ClassDef)) and ast.get_docstring(node):
            string = node.body[0]
            documented.update(range(string.lineno, (string.end_lineno or string.lineno) + 1))
    lines = enumerate(text.splitlines(), 1)
    return sum(
        1 for number, line in lines if number not in documented and line.strip() and not line.lstrip().startswith("#")
    )


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_modules_are_thin(path: Path) -> None:
    assert code_lines(path.read_text(encoding="utf-8")) <= LONGEST_MODULE_CODE


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_modules_are_documented(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    documentation = {
        node.targets[0].id: node.value.value
        for node in ast.parse(text).body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Constant)
    }
    assert {"DOCUMENTATION", "EXAMPLES", "RETURN"} <= set(documentation)
    told = yaml.safe_load(documentation["DOCUMENTATION"])
    attributes = set(told.get("attributes", {}))
    if "bare_metal.kubernetes.read_only" in told.get("extends_documentation_fragment", []):
        attributes |= {"check_mode", "diff_mode"}
    assert {"check_mode", "diff_mode"} <= attributes, "says nothing of check mode and diff"


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


@pytest.mark.parametrize("path", [*MODULES, *sorted((ROOT / "plugins" / "module_utils").glob("*.py"))], ids=relative)
def test_what_runs_on_targets_needs_nothing_but_python(path: Path) -> None:
    for name in imports_of(path):
        top = name.split(".")[0]
        ours = name.startswith("ansible_collections.bare_metal.kubernetes.plugins.module_utils")
        assert top in sys.stdlib_module_names or name.startswith("ansible.module_utils") or ours, (
            f"{relative(path)} imports {name}"
        )


PYTHON = sorted(path for path in (ROOT / "plugins").rglob("*.py"))


@pytest.mark.parametrize("path", PYTHON, ids=relative)
def test_headers(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert "GPL-3.0-or-later" in text[:400]
    if "\nimport " in text or "\nfrom " in text:
        assert "from __future__ import annotations" in text


@pytest.mark.parametrize("path", PYTHON, ids=relative)
def test_programs_are_argv_lists(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            assert not any(key.arg == "shell" and getattr(key.value, "value", None) is True for key in node.keywords), (
                node.lineno
            )
            name = ast.unparse(node.func)
            assert name not in ("os.system", "os.popen", "eval", "exec"), f"line {node.lineno}: {name}"
            if name in ("subprocess.run", "subprocess.check_output"):
                assert any(key.arg == "timeout" for key in node.keywords), f"line {node.lineno}: no timeout"


# --- the tree


def test_what_is_shipped_reads_only_what_is_shipped() -> None:
    """Nothing in plugins, roles and playbooks names a file of the repository's other parts."""
    for path in tracked():
        if path.relative_to(ROOT).parts[0] in ("plugins", "roles", "playbooks") and path.suffix in (
            ".py",
            ".yml",
            ".j2",
        ):
            for match in re.finditer(r"(?:\.\./)+(molecule|tests|inventories|docs)/", path.read_text(encoding="utf-8")):
                pytest.fail(f"{relative(path)} reads {match.group(0)}")


def test_action_plugins_have_documentation() -> None:
    actions = {path.stem for path in (ROOT / "plugins" / "action").glob("*.py")}
    assert actions <= {path.stem for path in MODULES}


def test_filters_have_documentation() -> None:
    filters = ROOT / "plugins" / "filter"
    for path in sorted(filters.glob("*.py")):
        module = importlib.import_module(f"ansible_collections.bare_metal.kubernetes.plugins.filter.{path.stem}")
        for name in module.FilterModule().filters():
            assert (filters / f"{name}.yml").is_file(), f"{relative(path)}: {name} has no documentation"


@pytest.mark.parametrize("kind", ["module_utils", "plugin_utils"])
def test_pure_cores_have_tests(kind: str) -> None:
    tests = ROOT / "tests" / "unit" / "plugins"
    text = "\n".join(path.read_text(encoding="utf-8") for path in tests.rglob("test_*.py"))
    cores = sorted((ROOT / "plugins" / kind).glob("*.py"))
    assert [relative(path) for path in cores if not re.search(rf"\b{path.stem}\b", text)] == []


def test_playbooks_can_be_called_by_name() -> None:
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", path.stem) for path in PLAYBOOKS)


def test_no_path_of_a_machine_and_no_registry_host() -> None:
    # An absolute path into somebody's checkout or Python installation; a path relative to something is none.
    secret = re.compile(r"(?<![\w.}*/])/\w+/(main|shared)\b(?!\.)|/\.pyenv\b")
    assert secret.search("see /src/main/x")
    assert secret.search("/home/someone/.pyenv/bin")
    assert not secret.search("roles/x/tasks/main.yml")
    for path in tracked():
        if path.suffix in (".py", ".yml", ".md", ".j2", ".sh", ".toml", ".cfg", ".txt", ".mk"):
            text = path.read_text(encoding="utf-8", errors="replace")
            if path != Path(__file__).resolve():
                assert not secret.search(text), relative(path)


def test_site_refuses_before_it_does_anything() -> None:
    """Whatever preflight finds, a disk that is too slow among it, gates the whole run."""
    plays = load(ROOT / "playbooks" / "site.yml")
    assert plays[0]["ansible.builtin.import_playbook"] == "preflight.yml"
    for play in load(ROOT / "playbooks" / "preflight.yml"):
        assert all(task["tags"] == ["always"] for task in play["tasks"])
