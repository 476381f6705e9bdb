"""The README tells no tales: each of its commands is run by a test, its inventory is the one that is shipped, its playbooks and links exist."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROOFS = yaml.safe_load((ROOT / "tests" / "integration" / "readme_commands.yml").read_text(encoding="utf-8"))
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
MAKEFILES = (ROOT / "Makefile", ROOT / "molecule" / "default" / "lab.mk")


def commands() -> list[str]:
    """Lines of shell blocks, and what stands between backticks and begins like a command."""
    lines = [line.strip() for language, text in BLOCKS if language == "sh" for line in text.splitlines()]
    prose = re.sub(r"^```.*?^```$", "", README, flags=re.DOTALL | re.MULTILINE)
    inline = re.findall(r"`((?:make|ansible-\w+|ansible) [^`]+)`", prose)
    return list(dict.fromkeys([line for line in lines if line and not line.startswith("#")] + inline))


def reached() -> set[str]:
    """Targets that CI reaches: what .ci/run calls, its prerequisites, and what recipes call with $(MAKE)."""
    needs: dict[str, set[str]] = {}
    for makefile in MAKEFILES:
        target = ""
        for line in makefile.read_text(encoding="utf-8").splitlines():
            if rule := re.match(r"^([a-z][a-z-]*):(?!=)([^#|]*)", line):
                target = rule[1]
                needs.setdefault(target, set()).update(re.findall(r"[a-z][a-z-]*", rule[2]))
            elif target and line.startswith("\t"):
                needs[target] |= set(re.findall(r"\$\(MAKE\) ([a-z][a-z-]*)", line))
    found: set[str] = set()
    todo = set(
        re.findall(
            r"\bmake ([a-z][a-z-]*)",
            "\n".join(line for line in (ROOT / ".ci" / "run").read_text().splitlines() if not line.startswith("#")),
        )
    )
    while todo:
        target = todo.pop()
        found.add(target)
        todo |= needs.get(target, set()) - found
    return found


def test_the_readme_has_commands() -> None:
    assert {"make lab", "make test"} <= set(commands())


@pytest.mark.parametrize("command", commands())
def test_command_is_run_by_somebody(command: str) -> None:
    proof = PROOFS.get(command)
    assert proof, "no test runs it: see readme_commands.yml"
    if "make" in proof:
        assert proof["make"] == command.split()[1]
        assert proof["make"] in reached(), f"CI does not reach make {proof['make']}"
    elif "suite" in proof:
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        assert re.search(rf"^{proof['suite']}:.*\n\tpytest ", makefile, re.MULTILINE)
    elif "file" in proof:
        assert proof["text"] in (ROOT / proof["file"]).read_text(encoding="utf-8")
    else:
        assert proof == {"run": True}


def test_no_proof_is_left_over() -> None:
    assert set(PROOFS) <= set(commands())


def test_commands_that_need_no_lab_work(
    run: Callable[..., subprocess.CompletedProcess[str]], checkout: Path, tmp_path: Path
) -> None:
    """In the README's order, in a checkout, with a home and a collections path of its own."""
    env = {"HOME": str(tmp_path), "ANSIBLE_COLLECTIONS_PATH": str(tmp_path / "collections")}
    for command in commands():
        if PROOFS[command] == {"run": True}:
            done = run(*shlex.split(command), cwd=checkout, env=env)
            assert done.stdout


def test_the_inventory_in_the_readme_is_the_one_that_is_shipped() -> None:
    shown = {}
    for language, text in BLOCKS:
        if language == "yaml":
            shown[text.splitlines()[0].removeprefix("# ")] = yaml.safe_load(text)
    assert set(shown) == {"hosts.yml", "group_vars/all.yml"}
    for path, content in shown.items():
        assert content == yaml.safe_load((ROOT / "inventories" / "minimal" / path).read_text(encoding="utf-8")), path


def test_every_playbook_is_explained() -> None:
    table = README.partition("## Playbooks")[2].partition("\n## ")[0]
    named = {name for row in re.findall(r"^\| (.*?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    assert named == {path.stem for path in (ROOT / "playbooks").glob("*.yml")}


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)", README)
    assert links
    assert all((ROOT / link).exists() for link in links if "://" not in link)


def test_versions_are_those_of_the_lock_and_of_the_collection() -> None:
    version = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))["version"]
    assert f"bare_metal-kubernetes-{version}.tar.gz" in README
    lock = yaml.safe_load((ROOT / "roles" / "bundle" / "files" / "bundle.lock.yml").read_text(encoding="utf-8"))
    for release_set in lock["release_sets"].values():
        for kubernetes in release_set["kubernetes_versions"]:
            assert kubernetes.removeprefix("v") in README
