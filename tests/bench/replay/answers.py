"""What modules answered on the lab, and which of these answers a simulated host gives.

An answer is found again by its module and its arguments: the recorded call of the same module that has the most plain values in common is the one. So
nothing has to be counted, and tasks may come in another order. A simulated host is a recorded one under another name and address; what is said in an answer
about other hosts stays what it was on the lab.
"""

from __future__ import annotations

import ast
import json
import re
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

PAYLOAD = b"\n    _ansiballz_main(\n"
#: the last line of what a task sends to the interpreter that waits on a host
REQUEST = re.compile(rb"\nmain\('[0-9a-f]+', (\{.*\})\)\n$")


def call_of(sent: bytes | None) -> tuple[str, dict[str, Any]] | None:
    """Module and arguments in what a task sends to a host; None when it is something else."""
    waiting = REQUEST.search(sent or b"")
    if waiting:
        given = ast.literal_eval(waiting[1].decode())
        return _read(given["module"], given["params"])
    _before, found, tail = (sent or b"").rpartition(PAYLOAD)
    if not found:
        return None
    lines = dict(line.split("=", 1) for line in tail.decode().splitlines() if re.match(r"(module_fqn|params)=", line))
    return _read(*(ast.literal_eval(lines[name].rstrip(",")) for name in ("module_fqn", "params")))


def _read(module: str, params: str) -> tuple[str, dict[str, Any]]:
    given = json.loads(params)["ANSIBLE_MODULE_ARGS"]
    return module.rpartition(".")[2], {key: value for key, value in given.items() if not key.startswith("_ansible_")}


def leaves(value: Any, path: tuple[Any, ...] = ()) -> frozenset[tuple[Any, ...]]:
    """Every plain value with the way to it."""
    if isinstance(value, dict):
        return frozenset(leaf for key, child in value.items() for leaf in leaves(child, (*path, key)))
    if isinstance(value, list):
        return frozenset(leaf for child in value for leaf in leaves(child, path))
    return frozenset({(*path, value)})


def replace(text: str, texts: dict[str, str]) -> str:
    """Put other words into a text, all at once; a word is not part of a longer name or address."""
    if not texts:
        return text
    words = "|".join(re.escape(word) for word in sorted(texts, key=len, reverse=True))
    return re.sub(rf"(?<![\w.-])(?:{words})(?![\w-])(?!\.\d)", lambda match: texts[match[0]], text)


@dataclass(frozen=True)
class Answer:
    """One recorded call."""

    host: str
    module: str
    arguments: dict[str, Any]
    output: str

    @cached_property
    def leaves(self) -> frozenset[tuple[Any, ...]]:
        return leaves(self.arguments)


@dataclass(frozen=True)
class Answers:
    """All recorded calls, and the simulated hosts: ``{name: [recorded name, {recorded word: its word}]}``."""

    recorded: tuple[Answer, ...]
    hosts: dict[str, tuple[str, dict[str, str]]]

    def find(self, host: str, module: str, arguments: dict[str, Any]) -> str:
        """The output of ``module`` on a host. Raises LookupError when it was never recorded."""
        origin, texts = self.hosts.get(host, (host, {}))
        back = {new: old for old, new in texts.items()}
        asked = leaves(json.loads(replace(json.dumps(arguments), back)))
        known = [answer for answer in self.recorded if answer.module == module]
        if not known:
            raise LookupError(f"no answer of {module} was recorded; record anew")
        best = max(known, key=lambda answer: (answer.host == origin, len(answer.leaves & asked)))
        # Clocks are compared with the controller's.
        text = re.sub(r'("epoch_seconds(?:_begun)?": )[\d.]+', lambda match: f"{match[1]}{time.time()}", best.output)
        return replace(text, texts)


def load(recorded: Path, hosts: Path | None = None) -> Answers:
    """Read a recording (one JSON object a line) and the simulated hosts."""
    answers = []
    for line in recorded.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        arguments = entry["arguments"]
        answer = Answer(entry["host"], entry["module"], arguments, entry["output"])
        _prepared = answer.leaves
        answers.append(answer)
    simulated = json.loads(hosts.read_text(encoding="utf-8")) if hosts else {}
    return Answers(tuple(answers), {name: (origin, texts) for name, (origin, texts) in simulated.items()})
