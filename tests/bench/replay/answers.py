"""What modules answered on the lab, and which of these answers a simulated host gives.

An answer is found again by the host, the task and the module; where a task made several calls, the one whose arguments have the most plain values in
common. So nothing has to be counted. A simulated host is a recorded one under another name and address; what is said in an answer about other hosts stays
what it was on the lab. Arguments are kept as digests of their values: keys travel in some.
"""

from __future__ import annotations

import ast
import gzip
import hashlib
import json
import re
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
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


def digests(arguments: dict[str, Any]) -> frozenset[str]:
    """The leaves of a call's arguments, short and unreadable."""
    return frozenset(hashlib.blake2b(repr(leaf).encode(), digest_size=6).hexdigest() for leaf in leaves(arguments))


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
    task: str
    module: str
    arguments: frozenset[str]
    output: str


@dataclass(frozen=True)
class Answers:
    """All recorded calls by module, and the simulated hosts: ``{name: [recorded name, {recorded word: its word}]}``."""

    by_module: dict[str, list[Answer]]
    hosts: dict[str, tuple[str, dict[str, str]]] = field(default_factory=dict)

    def find(self, host: str, task: str, module: str, arguments: dict[str, Any]) -> str:
        """The output of ``module`` on a host. Raises LookupError when it was never recorded."""
        origin, texts = self.hosts.get(host, (host, {}))
        known = self.by_module.get(module)
        if not known:
            raise LookupError(f"no answer of {module} was recorded; record anew")
        first = max((answer.host == origin, answer.task == task) for answer in known)
        alike = [answer for answer in known if (answer.host == origin, answer.task == task) == first]
        best = alike[0]
        if len(alike) > 1:
            back = {new: old for old, new in texts.items()}
            asked = digests(json.loads(replace(json.dumps(arguments), back)))
            # Of equal calls the last one: what a loop that waited came to.
            best = max(reversed(alike), key=lambda answer: len(answer.arguments & asked))
        # Clocks are compared with the controller's.
        text = re.sub(r'("epoch_seconds(?:_begun)?": )[\d.]+', lambda match: f"{match[1]}{time.time()}", best.output)
        return replace(text, texts)


def save(entries: Iterable[dict[str, Any]], path: Path) -> int:
    """Write calls as they were seen, compressed, for this user alone; how many there were."""
    count = 0
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    with gzip.open(path, "wt", encoding="utf-8") as file:
        for entry in entries:
            file.write(json.dumps({**entry, "arguments": sorted(digests(entry["arguments"]))}) + "\n")
            count += 1
    return count


def load(recorded: Path, hosts: Path | None = None) -> Answers:
    """Read a recording (one JSON object a line, compressed) and the simulated hosts."""
    found = defaultdict(list)
    with gzip.open(recorded, "rt", encoding="utf-8") as file:
        for line in file:
            entry = json.loads(line)
            found[entry["module"]].append(Answer(**{**entry, "arguments": frozenset(entry["arguments"])}))
    simulated = json.loads(hosts.read_text(encoding="utf-8")) if hosts else {}
    return Answers(dict(found), {name: (origin, texts) for name, (origin, texts) in simulated.items()})
