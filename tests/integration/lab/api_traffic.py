"""Clients of the API on a host of a lab: 50 requests a second, watches, an exec stream; and how long each of them had nothing."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields

# Runs on the host; its settings, the token among them, come on standard input. Silence is the time between two signs of life, to the end of the block.
CLIENTS = r"""
import http.client, json, os, signal, socket, ssl, subprocess, sys, threading, time
given = json.loads(sys.stdin.readline())
over = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: over.set())
# The end of standard input is the end of who asked, however it died.
threading.Thread(target=lambda: (os.read(0, 1), over.set()), daemon=True).start()
context = ssl._create_unverified_context()
path = '/api/v1/namespaces/%s/configmaps/%s' % (given['namespace'], given['name'])
bearer = {'Authorization': 'Bearer ' + given['token']}

def place():
    # Whom a kubeconfig of the machine names at present, or always the same one.
    if given['follow']:
        with open(given['follow']) as stream:
            (server,) = [line.split()[-1] for line in stream if line.strip().startswith('server:')]
        host, _colon, port = server.partition('//')[2].rpartition(':')
        return host.strip('[]'), int(port)
    return given['host'], given['port']

def connect(patience):
    # As Go's clients: keep-alives after 15 s, every 15 s.
    connection = http.client.HTTPSConnection(*place(), timeout=patience, context=context)
    connection.connect()
    for option, value in ((socket.TCP_KEEPIDLE, 15), (socket.TCP_KEEPINTVL, 15), (socket.TCP_KEEPCNT, 9)):
        connection.sock.setsockopt(socket.IPPROTO_TCP, option, value)
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return connection

class Signs:
    def __init__(self):
        self.last, self.longest, self.ended, self.seen, self.lock = time.monotonic(), 0.0, 0, 0, threading.Lock()
    def life(self):
        with self.lock:
            now = time.monotonic()
            self.longest, self.last, self.seen = max(self.longest, now - self.last), now, self.seen + 1
    def silence(self):
        return max(self.longest, time.monotonic() - self.last)

answers, lost = Signs(), []
def ask():
    begun = time.monotonic()
    try:
        connection = http.client.HTTPSConnection(*place(), timeout=given['patience'], context=context)
        # What needs no etcd: the way to an API server is measured here, what the cluster makes of a death is in the watches.
        connection.request('GET', '/version', headers=bearer)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        if answer.status != 200:
            raise OSError('status %s' % answer.status)
        if time.monotonic() - begun > given['patience']:
            raise OSError('answered late')
        answers.life()
    except (OSError, http.client.HTTPException) as error:
        lost.append((begun, '%s: %s' % (type(error).__name__, error)))

def write():
    # What watches see: a change every 250 ms.
    number = 0
    while not over.is_set():
        number += 1
        body = json.dumps({'data': {'turn': str(number)}})
        headers = {**bearer, 'Content-Type': 'application/merge-patch+json'}
        try:
            connection = http.client.HTTPSConnection(*place(), timeout=1, context=context)
            connection.request('PATCH', path, body, headers)
            connection.getresponse().read()
            connection.close()
        except (OSError, http.client.HTTPException):
            pass
        over.wait(0.25)

def watch(signs):
    query = '/api/v1/namespaces/%s/configmaps?watch=1&fieldSelector=metadata.name=%s' % (given['namespace'], given['name'])
    while not over.is_set():
        try:
            connection = connect(1)
            channel = connection.sock
            connection.request('GET', query, headers=bearer)
            stream = connection.getresponse()
            channel.settimeout(None)
            while not over.is_set():
                if not stream.readline():
                    break
                signs.life()
        except (OSError, http.client.HTTPException, ValueError):
            pass
        signs.ended += 1
        over.wait(0.05)

def execute(signs):
    argv = ['kubectl', '--kubeconfig', given['kubeconfig'], '--request-timeout=0', '-n', given['exec_namespace'], 'exec']
    argv += [given['exec_pod'], '-c', given['exec_container'], '--', 'sh', '-c', 'while :; do echo .; sleep 0.2; done']
    while not over.is_set():
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        streams.append(process)
        for line in process.stdout:
            signs.life()
        signs.ended += 1
        over.wait(0.1)

watchers, terminal, streams, threads = [Signs() for _ in range(given['watches'])], Signs(), [], []
threading.Thread(target=write, daemon=True).start()
for signs in watchers:
    threading.Thread(target=watch, args=(signs,), daemon=True).start()
if given['exec_pod']:
    threading.Thread(target=execute, args=(terminal,), daemon=True).start()
begun, number = time.monotonic(), 0
while not over.is_set():
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    threads.append(thread)
    number += 1
    over.wait(max(0, begun + number * given['every'] - time.monotonic()))
told = {'watch_longest': max(one.silence() for one in watchers), 'watch_ended': sum(one.ended for one in watchers),
        'watch_seen': min(one.seen for one in watchers), 'exec_longest': terminal.silence(), 'exec_ended': terminal.ended}
for process in streams:
    process.kill()
for thread in threads:
    thread.join(given['patience'] + 1)
json.dump({'asked': number, 'lost': len(lost), 'longest_gap': answers.longest, 'first_error': lost[0][1] if lost else '', **told}, sys.stdout)
"""


@dataclass(frozen=True)
class Client:
    """Where the clients run and whom they ask. ``machine``: the container; ``host`` and ``port``: the API's address; ``exec_pod``: a pod with a shell, empty
    for no exec stream; ``follow``: a kubeconfig of the machine, whose server is asked instead, whichever it names at that moment."""

    machine: str
    host: str
    port: int
    token: str
    exec_pod: str
    exec_container: str = "kube-proxy"
    exec_namespace: str = "kube-system"
    follow: str = ""


@dataclass
class Felt:
    """What the clients felt. Times in seconds: the longest between two answers, two events of a watch (the worst one), two lines of the exec stream."""

    asked: int = 0
    lost: int = 0
    longest_gap: float = 0.0
    first_error: str = ""
    watch_longest: float = 0.0
    watch_ended: int = 0
    watch_seen: int = 0
    exec_longest: float = 0.0
    exec_ended: int = 0

    def __str__(self) -> str:
        error = f" (first: {self.first_error})" if self.lost else ""
        return (
            f"{self.lost} of {self.asked} lost, longest gap {self.longest_gap * 1000:.0f} ms{error}; watches: longest silence "
            f"{self.watch_longest * 1000:.0f} ms, {self.watch_ended} reconnected; exec: {self.exec_longest * 1000:.0f} ms, {self.exec_ended} ended"
        )


KUBECONFIG = "/run/endpoint-test.kubeconfig"
OBJECT = {"namespace": "default", "name": "endpoint-test"}


def kubeconfig(client: Client) -> str:
    """Of the same client, for kubectl."""
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": "c",
                    "cluster": {"server": f"https://{client.host}:{client.port}", "insecure-skip-tls-verify": True},
                }
            ],
            "users": [{"name": "u", "user": {"token": client.token}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
    )


@contextmanager
def clients(client: Client, *, every: float = 0.02, patience: float = 2.0, watches: int = 6) -> Iterator[Felt]:
    """They run while the block does; the object is filled in when it ends."""
    felt = Felt()
    place = ["podman", "exec", "-i", client.machine]
    subprocess.run(
        [*place, "sh", "-c", f"umask 077; cat > {KUBECONFIG}"], input=kubeconfig(client), text=True, check=True
    )
    settings = {
        **OBJECT,
        **{
            name: getattr(client, name)
            for name in ("host", "port", "token", "exec_pod", "exec_container", "exec_namespace", "follow")
        },
        "every": every,
        "patience": patience,
        "watches": watches,
        "kubeconfig": KUBECONFIG,
    }
    # A name of its own, by which it is ended inside the machine.
    name = f"endpoint-clients-{time.monotonic_ns()}"
    argv = [*place, "bash", "-c", f'exec -a {name} python3 -c "$0"', CLIENTS]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        process.stdin.write(json.dumps(settings) + "\n")
        process.stdin.flush()
        time.sleep(2)
        try:
            yield felt
        finally:
            subprocess.run([*place, "pkill", "-TERM", "-f", f"^{name}"], check=False)
            said, _errors = process.communicate(timeout=90)
    told = json.loads(said)
    for entry in fields(Felt):
        setattr(felt, entry.name, told[entry.name])
