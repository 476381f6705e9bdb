# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one host shows to ``verify``: everything is read, nothing is judged.

Each observer returns plain data and never raises for what is broken on the host: broken is an observation.
"""

from __future__ import annotations

import base64
import datetime
import glob
import http.client
import json
import re
import ssl
import time
import typing as t
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _bgp, _calico, _cilium, _dns, _node_firewall
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._command import CommandError, run

#: certificates on a node, as shell patterns; kubeconfigs carry theirs inside
CERTIFICATE_PATTERNS = (
    "/etc/kubernetes/pki/*.crt",
    "/etc/kubernetes/pki/etcd/*.crt",
    "/etc/etcd/pki/*.crt",
    "/var/lib/kubelet/pki/kubelet-client-current.pem",
    "/var/lib/kubelet/pki/kubelet-server-current.pem",
)
KUBECONFIG_PATTERN = "/etc/kubernetes/*.conf"
CLIENT_CERTIFICATE = re.compile(r"^\s*client-certificate-data:\s*(\S+)\s*$", re.MULTILINE)

Observation = t.Dict[str, t.Any]

#: how often something that does not answer well is asked, and the seconds in between
TRIES = 3
PAUSE_SECONDS = 3.0


#: characters of an answer that are kept
KEPT_CHARACTERS = 2000
#: characters of a speaker's metrics that are read
LONGEST_METRICS = 1 << 20
SESSION_UP = re.compile(r'^metallb_bgp_session_up\{peer="([^"]+)"\} (\S+)$', re.MULTILINE)


def ask_url(url: str, timeout: float, kept: int = KEPT_CHARACTERS) -> Observation:
    """Fetch a URL without checking the server's certificate; ``{ok, status, milliseconds, answer, source, error}``.

    ``source`` is this host's address that the connection was made from, ``answer`` the first ``kept`` characters.
    """
    parts = urllib.parse.urlsplit(url)
    begun = time.monotonic()
    status, answer, source, error = 0, "", "", ""
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection(parts.hostname or "", parts.port, timeout=timeout, context=context)
    else:
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)
    try:
        connection.request("GET", urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, "")))
        source = connection.sock.getsockname()[0]
        response = connection.getresponse()
        status, answer = response.status, response.read(max(kept, 65536)).decode("utf-8", "replace")
        if status // 100 != 2:
            error = f"status {status}"
    except (OSError, http.client.HTTPException) as exc:
        error = str(exc) or type(exc).__name__
    finally:
        connection.close()
    return {
        "ok": not error,
        "status": status,
        "milliseconds": round((time.monotonic() - begun) * 1000, 1),
        "answer": answer[:kept],
        "source": source,
        "error": error,
    }


def ask_patiently(url: str, timeout: float, tries: int = TRIES) -> Observation:
    """Ask until the answer is good, a few times: a server that is busy for a moment is no finding. ``tries`` tells how often it was asked."""
    answer: Observation = {}
    for number in range(1, tries + 1):
        answer = {**ask_url(url, timeout), "tries": number}
        if answer["ok"]:
            break
        if number < tries:
            time.sleep(PAUSE_SECONDS)
    return answer


def ask_urls(urls: t.Mapping[str, str], timeout: float) -> dict[str, Observation]:
    """Fetch several URLs at once, by name."""
    with ThreadPoolExecutor(max_workers=16) as pool:
        pending = {name: pool.submit(ask_patiently, url, timeout) for name, url in urls.items()}
        return {name: future.result() for name, future in pending.items()}


def parse_end_date(text: str) -> float:
    """Read ``notAfter=Nov 22 04:20:51 2027 GMT`` (``openssl x509 -enddate``) as seconds since the epoch."""
    stamp = text.strip().split("=", 1)[1]
    ends = datetime.datetime.strptime(stamp, "%b %d %H:%M:%S %Y %Z")
    return ends.replace(tzinfo=datetime.timezone.utc).timestamp()


def _days_left(pem: str, now: float) -> float:
    said = run(["openssl", "x509", "-noout", "-enddate"], input_text=pem, timeout=10).stdout
    return round((parse_end_date(said) - now) / 86400, 1)


def _text(path: str) -> str:
    with open(path, encoding="ascii", errors="replace") as stream:
        return stream.read()


def observe_certificates(now: float) -> list[Observation]:
    """Return ``{path, days_left, error}`` of each certificate on this host; kubeconfigs' client certificates included."""
    found = []
    sources: list[tuple[str, str | None]] = [
        (path, None) for pattern in CERTIFICATE_PATTERNS for path in sorted(glob.glob(pattern))
    ]
    for path in sorted(glob.glob(KUBECONFIG_PATTERN)):
        with open(path, encoding="utf-8") as stream:
            embedded = CLIENT_CERTIFICATE.search(stream.read())
        if embedded:
            sources.append((path, base64.b64decode(embedded.group(1)).decode("ascii", "replace")))
    for path, embedded_pem in sources:
        entry: Observation = {"path": path, "days_left": None, "error": ""}
        try:
            entry["days_left"] = _days_left(embedded_pem or _text(path), now)
        except (CommandError, OSError, ValueError, IndexError) as exc:
            entry["error"] = str(exc)
        found.append(entry)
    return found


def parse_etcd(members: t.Mapping[str, t.Any], status: t.Sequence[t.Mapping[str, t.Any]]) -> Observation:
    """Join ``etcdctl member list`` and ``endpoint status --cluster`` (JSON): ``{members: [{name, learner, healthy, leader, ...}]}``."""
    by_id = {}
    for entry in status:
        body = entry.get("Status") or {}
        header = body.get("header") or {}
        by_id[header.get("member_id")] = {
            "leader": body.get("leader") == header.get("member_id"),
            "db_size": body.get("dbSize", 0),
            "db_quota": body.get("dbSizeQuota", 0),
            "version": body.get("version", ""),
            "errors": body.get("errors") or [],
        }
    listed = []
    for member in members.get("members") or []:
        answered = by_id.get(member.get("ID"))
        listed.append(
            {
                "name": member.get("name", ""),
                "learner": bool(member.get("isLearner")),
                "healthy": answered is not None and not answered["errors"],
                "leader": bool(answered and answered["leader"]),
                "db_size": answered["db_size"] if answered else 0,
                "db_quota": answered["db_quota"] if answered else 0,
                "version": answered["version"] if answered else "",
                "errors": answered["errors"] if answered else ["does not answer"],
            }
        )
    return {"members": sorted(listed, key=lambda entry: str(entry["name"])), "error": ""}


def observe_etcd(endpoint: str, pki: str) -> Observation:
    """Ask this host's member what it knows of all members."""
    base = [
        *("etcdctl", "--write-out=json", f"--endpoints={endpoint}", "--command-timeout=5s", "--dial-timeout=3s"),
        *(f"--cacert={pki}/ca.crt", f"--cert={pki}/client.crt", f"--key={pki}/client.key"),
    ]
    try:
        members = json.loads(run([*base, "member", "list"], timeout=15).stdout)
        # A member that does not answer makes etcdctl fail although it prints what the others said.
        status = run([*base, "endpoint", "status", "--cluster"], timeout=30, check=False).stdout
        return parse_etcd(members, json.loads(status or "[]"))
    except (CommandError, ValueError) as exc:
        return {"members": [], "error": str(exc)}


def observe_from_pod(selector: str, targets: t.Sequence[str], timeout: float) -> Observation:
    """Ask ``targets`` from inside this node's probe pod: ``{pod: id, answers: [{target, ok, milliseconds, answer, error}]}``."""
    crictl = ["crictl", "--timeout", "20s"]
    try:
        listed = run([*crictl, "ps", "--quiet", "--state", "Running", "--label", selector], timeout=30).stdout.split()
        if not listed:
            return {"pod": "", "answers": [], "error": f"no running container with the label {selector} on this node"}
        asked = [*crictl, "exec", listed[0], "/echo-server", "probe", "--timeout", f"{timeout:g}s", *targets]
        return {"pod": listed[0], "answers": json.loads(run(asked, timeout=timeout + 30).stdout), "error": ""}
    except (CommandError, ValueError) as exc:
        return {"pod": "", "answers": [], "error": str(exc)}


def parse_frr_summary(summary: t.Mapping[str, t.Any]) -> dict[str, Observation]:
    """Read ``show bgp summary json`` of FRR: neighbour address -> ``{state, received, sent, as_number}``, over all families."""
    found: dict[str, Observation] = {}
    for family in summary.values():
        peers = family.get("peers") if isinstance(family, dict) else None
        for address, peer in (peers or {}).items():
            found[address] = {
                "state": peer.get("state", ""),
                "received": peer.get("pfxRcd", 0),
                "sent": peer.get("pfxSnt", 0),
                "as_number": peer.get("remoteAs", 0),
            }
    return found


def parse_speaker(metrics: str) -> list[Observation]:
    """Read the metrics of MetalLB's native speaker: ``[{peer, up}]``.

    v0.15 counts a session by address when it is made and by address and port when it is up, so both series are one session.
    """
    found: dict[str, bool] = {}
    for peer, value in SESSION_UP.findall(metrics):
        address = peer.rpartition(":")[0] if re.search(r"[0-9.\]]:[0-9]+$", peer) and peer.count(":") == 1 else peer
        found[address] = found.get(address, False) or float(value) == 1
    return [{"peer": peer, "up": up} for peer, up in sorted(found.items())]


def observe_speaker(url: str, timeout: float) -> Observation:
    """Ask MetalLB's speaker on this host for its sessions."""
    answer = ask_url(url, timeout, LONGEST_METRICS)
    return {"sessions": parse_speaker(answer["answer"]) if answer["ok"] else [], "error": answer["error"]}


def parse_addresses(text: str) -> list[str]:
    """Read ``ip -j address``: every address of the host but loopback's and link-local ones."""
    addresses = [info for link in json.loads(text or "[]") for info in link.get("addr_info") or []]
    return sorted(info["local"] for info in addresses if info.get("scope") == "global")


def observe_router(families: t.Sequence[int] = (4,)) -> Observation:
    """Ask FRR on this host for its BGP neighbours, and the kernel for its addresses and routes."""
    try:
        addresses = parse_addresses(run(["ip", "-json", "address", "show"], timeout=15).stdout)
        said = run(["vtysh", "-c", "show bgp summary json"], timeout=15).stdout
        seen = _bgp.observe_frr(families)
        return {
            "neighbours": parse_frr_summary(json.loads(said)),
            "addresses": addresses,
            "received": dict(seen.received),
            "paths": dict(seen.paths),
            "routes": observe_routes(families)["routes"],
            "error": "",
        }
    except (CommandError, ValueError) as exc:
        return {"neighbours": {}, "addresses": [], "routes": [], "error": str(exc)}


ANNOUNCER_SOCKET = "/run/bare-metal-api-announcer/bird.ctl"


def observe_announcer(address: str) -> Observation:
    """Does this control plane hold the API's announced address, and whom does it announce it to: ``{holds, sessions, error}``."""
    try:
        own = parse_addresses(run(["ip", "-json", "address", "show", "dev", "lo"], timeout=15).stdout)
        sessions = _calico.parse_sessions(_calico.ask_bird(ANNOUNCER_SOCKET, "show protocols all"))
    except (_calico.CalicoStatusError, CommandError, ValueError) as exc:
        return {"holds": False, "sessions": [], "error": str(exc)}
    return {"holds": address in own, "sessions": [asdict(session) for session in sessions], "error": ""}


def observe_bgp(network_plugin: str = "calico", families: t.Sequence[int] = (4,)) -> Observation:
    """Ask Calico's BIRD, one for each family, or Cilium's agent, on this host for its sessions."""
    try:
        if network_plugin == "cilium":
            sessions = _cilium.observe_sessions()
        else:
            sessions = [
                session
                for family in families
                for session in _calico.parse_sessions(_calico.ask_bird(_calico.SOCKETS[family], "show protocols all"))
            ]
    except (_calico.CalicoStatusError, _cilium.CiliumStatusError) as exc:
        return {"sessions": [], "error": str(exc)}
    return {"sessions": [asdict(session) for session in sessions], "error": ""}


def observe_routes(families: t.Sequence[int] = (4,)) -> Observation:
    """Read this host's main routing table of each family."""
    try:
        routes = [
            route
            for family in families
            for route in _calico.parse_routes(run(["ip", "-json", f"-{family}", "route", "show"], timeout=15).stdout)
        ]
    except (CommandError, ValueError) as exc:
        return {"routes": [], "error": str(exc)}
    return {"routes": [asdict(route) for route in routes], "error": ""}


def observe_dns_cache(server: str, name: str, timeout: float) -> Observation:
    """Ask the DNS cache of this node for a name, a few times: ``{milliseconds, error}``."""
    for number in range(1, TRIES + 1):
        begun = time.monotonic()
        try:
            _dns.resolve(server, name, timeout)
            return {"milliseconds": round((time.monotonic() - begun) * 1000, 1), "error": ""}
        except OSError as exc:
            said = str(exc) or type(exc).__name__
        if number < TRIES:
            time.sleep(PAUSE_SECONDS)
    return {"milliseconds": None, "error": f"{server} does not answer for {name}: {said}"}


def observe_firewall(text: str) -> Observation:
    """Compare the host's firewall with the wanted table: ``{differences: what is not as it should be, error}``."""
    try:
        observed = _node_firewall.observe()
        wanted = _node_firewall.Wanted(text, _node_firewall.canonical(text))
        changes = _node_firewall.plan(observed, wanted)
    except (_node_firewall.NodeFirewallError, CommandError, OSError) as exc:
        return {"differences": [], "error": str(exc)}
    return {"differences": [f"{change.verb} {change.name}" for change in changes], "error": ""}
