# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What NetworkPolicies are judged by on a node: connections tried from inside its pods' networks, and those that its kernel tracks.

A pod is not touched and needs no tool: the node opens the connection in the pod's network namespace, which it finds through the container runtime.
"""

from __future__ import annotations

import errno
import json
import re
import sys
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor

from ansible_collections.bare_metal.kubernetes.plugins.module_utils._command import CommandError, run

#: of a tuple of ``conntrack --dump``: the connection as it was opened, then as its answers come back
FIELD = re.compile(r"\b(src|dst|sport|dport)=(\S+)")
PROTOCOL = re.compile(r"^(?:ipv[46]\s+\d+\s+)?(?P<protocol>tcp|udp|sctp)\s", re.IGNORECASE)
#: outcomes that show that the packets were let through
THROUGH = ("connected", "refused")
#: how often something is tried that goes otherwise than expected, and the seconds in between
TRIES, PAUSE_SECONDS = 3, 2.0
#: pods whose connections are tried at the same time
PODS_AT_ONCE = 8
# Runs in the pod's network: all targets at once, each with a socket that does not wait.
CONNECT = """
import errno, json, selectors, socket, sys, time
asked = json.load(sys.stdin)
selector, found, until = selectors.DefaultSelector(), {}, time.monotonic() + asked['timeout']
for number, (address, port) in enumerate(asked['targets']):
    sock = socket.socket(socket.AF_INET6 if ':' in address else socket.AF_INET, socket.SOCK_STREAM)
    sock.setblocking(False)
    code = sock.connect_ex((address, port))
    if code == errno.EINPROGRESS:
        selector.register(sock, selectors.EVENT_WRITE, number)
    else:
        found[number] = code
        sock.close()
while selector.get_map() and time.monotonic() < until:
    for key, _ in selector.select(max(0, until - time.monotonic())):
        found[key.data] = key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        selector.unregister(key.fileobj)
        key.fileobj.close()
print(json.dumps([found.get(number, errno.ETIMEDOUT) for number in range(len(asked['targets']))]))
"""

Trial = t.Mapping[str, t.Any]


def outcome_of(code: int) -> str:
    """A connection's errno as ``connected``, ``refused`` (an answer came), ``dropped`` (none did, or a firewall said no) or ``error: ...``."""
    if code == 0:
        return "connected"
    if code in (errno.ECONNREFUSED, errno.ECONNRESET):
        return "refused"
    if code in (errno.ETIMEDOUT, errno.EPERM, errno.EACCES, errno.EHOSTUNREACH, errno.ENETUNREACH):
        return "dropped"
    return f"error: {errno.errorcode.get(code, code)}"


def network_of(inspected: t.Mapping[str, t.Any]) -> str:
    """The path of a sandbox's network namespace in what ``crictl inspectp`` prints; empty when it has none of its own."""
    spaces = inspected.get("info", {}).get("runtimeSpec", {}).get("linux", {}).get("namespaces", [])
    return next((str(space.get("path", "")) for space in spaces if space.get("type") == "network"), "")


def networks() -> dict[tuple[str, str], str]:
    """``{(namespace, pod): path of its network namespace}`` of the pods that run on this node."""
    crictl = ["crictl", "--timeout", "20s"]
    listed = json.loads(run([*crictl, "pods", "--state", "ready", "--output", "json"], timeout=30).stdout)["items"]

    def inspected(sandbox: t.Mapping[str, t.Any]) -> str:
        done = run([*crictl, "inspectp", "--output", "json", str(sandbox["id"])], timeout=30, check=False)
        return network_of(json.loads(done.stdout)) if done.rc == 0 else ""

    with ThreadPoolExecutor(max_workers=PODS_AT_ONCE) as pool:
        paths = list(pool.map(inspected, listed))
    return {
        (sandbox["metadata"]["namespace"], sandbox["metadata"]["name"]): path for sandbox, path in zip(listed, paths)
    }


def _connect(path: str, targets: t.Sequence[tuple[str, int]], timeout: float) -> list[str]:
    asked = json.dumps({"targets": targets, "timeout": timeout})
    argv = ["nsenter", f"--net={path}", sys.executable, "-c", CONNECT]
    done = run(argv, input_text=asked, timeout=timeout + 30)
    return [outcome_of(code) for code in json.loads(done.stdout)]


def tried(
    trials: t.Sequence[Trial], timeout: float, tries: int = TRIES, pause: float = PAUSE_SECONDS
) -> dict[str, str]:
    """Try connections from pods of this node: ``{id: outcome}``.

    What went otherwise than expected is tried again: a rule that was just applied takes a moment to reach the kernel, a busy target to answer.

    :param trials: ``{id, namespace, pod, address, port, passes}`` each.
    """
    found: dict[str, str] = {}
    left = list(trials)
    for number in range(tries):
        if not left:
            break
        time.sleep(pause if number else 0)
        found.update(_tried_once(left, timeout))
        left = [trial for trial in left if (found[str(trial["id"])] in THROUGH) != trial["passes"]]
    return found


def _tried_once(trials: t.Sequence[Trial], timeout: float) -> dict[str, str]:
    try:
        paths = networks()
    except (CommandError, ValueError, KeyError) as exc:
        return {str(trial["id"]): f"error: the container runtime could not be asked: {exc}" for trial in trials}
    by_pod: dict[tuple[str, str], list[Trial]] = {}
    for trial in trials:
        by_pod.setdefault((str(trial["namespace"]), str(trial["pod"])), []).append(trial)

    def one(item: tuple[tuple[str, str], list[Trial]]) -> dict[str, str]:
        pod, asked = item
        path = paths.get(pod, "")
        try:
            if not path:
                raise CommandError("the pod does not run here any more, or has no network of its own")
            outcomes = _connect(path, [(str(entry["address"]), int(entry["port"])) for entry in asked], timeout)
        except (CommandError, ValueError) as exc:
            outcomes = [f"error: {exc}"] * len(asked)
        return {str(entry["id"]): outcome for entry, outcome in zip(asked, outcomes)}

    found: dict[str, str] = {}
    with ThreadPoolExecutor(max_workers=PODS_AT_ONCE) as pool:
        for answers in pool.map(one, by_pod.items()):
            found.update(answers)
    return found


# --- connections that are there


def parse_tracked(text: str) -> list[dict[str, t.Any]]:
    """Read ``conntrack --dump``: ``{protocol, source, target, port}`` of each, the target behind a Service's address. Unanswered ones are left out."""
    found = []
    for line in text.splitlines():
        protocol = PROTOCOL.match(line)
        fields = FIELD.findall(line)
        if (
            not protocol
            or "[UNREPLIED]" in line
            or [key for key, value in fields] != ["src", "dst", "sport", "dport"] * 2
        ):
            continue
        # The answer comes from the server that was chosen, whatever address was asked.
        (source, answering, port) = (fields[0][1], fields[4][1], fields[6][1])
        found.append(
            {"protocol": protocol["protocol"].lower(), "source": source, "target": answering, "port": int(port)}
        )
    return found


def tracked(seconds: float, pause: float = 1.0) -> dict[str, t.Any]:
    """Look at the kernel's connections again and again: ``{connections: [...], error}``, each connection once."""
    found: dict[tuple[t.Any, ...], dict[str, t.Any]] = {}
    until = time.monotonic() + seconds
    while True:
        for family in ("ipv4", "ipv6"):
            try:
                said = run(["conntrack", "--dump", f"--family={family}"], timeout=60).stdout
            except CommandError as exc:
                return {"connections": [], "error": str(exc)}
            for entry in parse_tracked(said):
                found.setdefault(tuple(entry.values()), entry)
        if time.monotonic() + pause > until:
            return {"connections": [found[key] for key in sorted(found, key=str)], "error": ""}
        time.sleep(pause)
