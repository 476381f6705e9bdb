"""kubeadm's shell around a stand-in for kubeadm that records its words: what is run, what is left behind, what is said when it fails."""

from __future__ import annotations

import dataclasses
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _control_plane as look
from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _kubeadm as core
from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _kubeadm_run as shell
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._command import CommandResult

RECORDED = Path(__file__).parent / "recorded"
TOKEN = "abcdef.0123456789abcdef"
JOIN: list[dict[str, Any]] = [
    {
        "kind": "JoinConfiguration",
        "nodeRegistration": {"name": "w1"},
        "discovery": {"bootstrapToken": {"apiServerEndpoint": "127.0.0.1:7443"}},
    }
]
INIT: list[dict[str, Any]] = [
    {
        "kind": "InitConfiguration",
        "nodeRegistration": {"name": "cp1"},
        "localAPIEndpoint": {"advertiseAddress": "fd00::1", "bindPort": 6443},
    },
    {"kind": "ClusterConfiguration"},
]
JOINED = core.NodeState(
    traces=True, kubeconfigs=frozenset({"kubelet"}), kubelet_settings=True, kubelet_active=True, registered=True
)


class Kubeadm:
    """Stands in for the program: remembers its words and the configuration that it could read."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.configuration = ""
        self.mode = 0
        self.answer = CommandResult((), 0, "", "")

    def __call__(self, argv: list[str], **_options: Any) -> CommandResult:
        self.calls.append(argv)
        for word in argv:
            if word.startswith("--config="):
                path = word.partition("=")[2]
                self.configuration, self.mode = Path(path).read_text(), stat.S_IMODE(os.stat(path).st_mode)
        return self.answer


@pytest.fixture
def kubeadm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Kubeadm:
    made = Kubeadm()
    monkeypatch.setattr(shell, "run", made)
    monkeypatch.setattr(shell, "RUN_DIRECTORY", str(tmp_path / "run"))
    monkeypatch.setattr(shell, "SETTLE_SECONDS", 0.0)
    monkeypatch.setattr(shell, "PAUSE_SECONDS", 0.0)
    return made


@pytest.fixture
def states(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Give the states that are observed, one after the other; the last one stays."""

    def give(*found: core.NodeState) -> None:
        left = list(found)
        monkeypatch.setattr(
            shell,
            "observe",
            lambda _request, objects: (left.pop(0) if len(left) > 1 else left[0], {} if objects else None),
        )

    return give


def test_join_gives_the_token_in_a_private_file_only(
    kubeadm: Kubeadm, states: Callable[..., None], tmp_path: Path
) -> None:
    states(core.NodeState(), JOINED)
    outcome = shell.join(shell.Request(JOIN, token=TOKEN, ca_cert_hash="sha256:00"))
    [argv] = kubeadm.calls
    assert argv[:2] == ["kubeadm", "join"] and TOKEN not in " ".join(argv)
    assert json.loads(kubeadm.configuration)["discovery"]["tlsBootstrapToken"] == TOKEN and kubeadm.mode == 0o600
    assert not any(TOKEN in path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    assert outcome.changed and outcome.steps[0] == "preflight: the node was never joined"


def test_join_that_is_done_runs_nothing(kubeadm: Kubeadm, states: Callable[..., None]) -> None:
    states(JOINED)
    assert shell.join(shell.Request(JOIN)) == shell.Outcome() and kubeadm.calls == []


def test_join_in_check_mode_only_says_what_it_would_do(kubeadm: Kubeadm, states: Callable[..., None]) -> None:
    states(core.NodeState())
    outcome = shell.join(shell.Request(JOIN, check=True))
    assert outcome.changed and kubeadm.calls == []
    assert outcome.diff[0]["after"].splitlines() == list(outcome.steps)


def test_join_needs_a_token(kubeadm: Kubeadm, states: Callable[..., None]) -> None:
    states(core.NodeState())
    with pytest.raises(core.KubeadmError, match=r"the node has to join .*no bootstrap token was given"):
        shell.join(shell.Request(JOIN))
    assert kubeadm.calls == []


def test_join_again_skips_what_is_done_and_removes_what_was_cut_off(
    kubeadm: Kubeadm, states: Callable[..., None], tmp_path: Path
) -> None:
    cut = tmp_path / "kubelet.conf"
    cut.write_text("cut")
    states(core.NodeState(traces=True, kubelet_settings=True, cut_off=(str(cut), str(tmp_path / "gone"))), JOINED)
    shell.join(shell.Request(JOIN, token=TOKEN))
    assert not cut.exists()
    assert (
        kubeadm.calls[0][-1]
        == "--skip-phases=preflight,control-plane-prepare,etcd-join,control-plane-join,wait-control-plane"
    )


def test_a_kubelet_that_only_has_to_start_needs_no_kubeadm(
    kubeadm: Kubeadm, states: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[str, ...]] = []
    monkeypatch.setattr(shell._systemd, "systemctl", lambda *words: started.append(words))
    states(core.NodeState(traces=True, kubeconfigs=frozenset({"kubelet"}), kubelet_settings=True), JOINED)
    assert shell.join(shell.Request(JOIN)).changed
    assert started == [("restart", "kubelet.service")] and kubeadm.calls == []


def test_a_token_that_was_left_behind_goes(kubeadm: Kubeadm, states: Callable[..., None], tmp_path: Path) -> None:
    paths = look.Paths(str(tmp_path))
    left = Path(paths.kubeconfig("bootstrap-kubelet"))
    left.parent.mkdir(parents=True)
    left.write_text(TOKEN)
    states(dataclasses.replace(JOINED, kubelet_token=True), JOINED)
    assert shell.join(shell.Request(JOIN, paths=paths)).changed
    assert not left.exists() and kubeadm.calls == []


def test_kubeadms_word_is_not_taken_for_it(kubeadm: Kubeadm, states: Callable[..., None]) -> None:
    states(core.NodeState(), core.NodeState(traces=True, kubeconfigs=frozenset({"kubelet"}), kubelet_settings=True))
    with pytest.raises(
        core.KubeadmError,
        match=r"kubeadm ended well, but after 0 s node 'w1' still lacks: start kubelet \(the kubelet does not run\)",
    ):
        shell.join(shell.Request(JOIN, token=TOKEN))


def test_an_api_that_never_answers_is_not_taken_for_joined(kubeadm: Kubeadm, states: Callable[..., None]) -> None:
    states(core.NodeState(traces=True, kubeconfigs=frozenset({"kubelet"}), kubelet_settings=True, kubelet_active=True))
    with pytest.raises(core.KubeadmError, match="the API does not answer this node, or does not know it"):
        shell.join(shell.Request(JOIN))


def test_failures_say_how_to_go_on_and_hide_the_token(kubeadm: Kubeadm, states: Callable[..., None]) -> None:
    states(core.NodeState())
    kubeadm.answer = CommandResult((), 1, "", f"cannot use token {TOKEN}, secret {TOKEN.partition('.')[2]}")
    with pytest.raises(core.KubeadmError) as caught:
        shell.join(shell.Request(JOIN, token=TOKEN))
    text = str(caught.value)
    assert "it goes on from here" in text and "cannot use token ********" in text and "0123456789abcdef" not in text


def test_init_runs_the_phases_that_are_left(kubeadm: Kubeadm, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = core.NodeState(
        frozenset(core.COMPONENTS),
        frozenset(core.INIT_KUBECONFIGS),
        frozenset(core.LEAVES),
        (),
        True,
        True,
        True,
        True,
        True,
        True,
        True,
    )
    seen: list[dict[str, list[str]]] = [{"addon/coredns": ["Deployment kube-system/coredns"]}, {}]
    monkeypatch.setattr(shell, "observe", lambda _request, objects: (whole, seen.pop(0) if objects else None))
    outcome = shell.initialise(shell.Request(INIT))
    assert outcome.steps == ("addon/coredns: not in the API: Deployment kube-system/coredns",)
    assert "--skip-token-print" in kubeadm.calls[0] and "addon/coredns" not in kubeadm.calls[0][-1].split(",")
    assert "addon/kube-proxy" in kubeadm.calls[0][-1].split(",")


def test_what_the_documents_say_of_the_node() -> None:
    request = shell.Request(INIT)
    assert (request.node_name, request.control_plane, request.server) == ("cp1", True, "https://[fd00::1]:6443")
    assert not shell.Request(JOIN).control_plane
    control_plane = [
        {**JOIN[0], "controlPlane": {"localAPIEndpoint": {"advertiseAddress": "10.0.0.1", "bindPort": 6443}}}
    ]
    assert shell.Request(control_plane).server == "https://10.0.0.1:6443"


def stored(before: str, after: str) -> shell.Change:
    return shell.Change("configuration", "kube-system/kubeadm-config", before, after)


MANIFESTS = dict.fromkeys(core.COMPONENTS, "old")


@pytest.mark.parametrize(
    ("wanted", "names", "stored", "lines"),
    [
        (MANIFESTS, [], (), []),
        (MANIFESTS, [], [stored("same", "same")], []),
        (MANIFESTS, [], [stored("a", "b")], ["configuration kube-system/kubeadm-config"]),
        ({**MANIFESTS, "kube-scheduler": "new"}, [], (), ["manifest kube-scheduler"]),
        (
            dict.fromkeys(core.COMPONENTS, "new"),
            ["b", "a"],
            [stored("a", "b")],
            [
                "configuration kube-system/kubeadm-config",
                "certificate apiserver",
                *(f"manifest {name}" for name in core.COMPONENTS),
            ],
        ),
    ],
)
def test_what_changes_on_a_live_control_plane(
    wanted: dict[str, str], names: list[str], stored: Any, lines: list[str]
) -> None:
    assert [change.line for change in shell.plan_configure(MANIFESTS, wanted, names, stored)] == lines


RESTART = [core.RESTARTED]


@pytest.mark.parametrize(
    ("changes", "phases", "patched"),
    [
        ([], [], []),
        ([stored("a", "b")], ["upload-config"], []),
        ([shell.Change("kube-proxy", "kube-system/kube-proxy", "a", "b")], ["addon"], [("kube-proxy", RESTART)]),
        ([shell.Change("kube-proxy", "pods", "kube-proxy-x", "")], [], [("kube-proxy", RESTART)]),
        ([shell.Change("kube-proxy", "server", "https://a", "https://b")], ["addon"], [("kube-proxy", RESTART)]),
        ([shell.Change("coredns", "replicas", "2\n", "5\n")], [], [("coredns", {"replicas": 5})]),
    ],
)
def test_what_is_stored_in_the_api(
    kubeadm: Kubeadm, monkeypatch: pytest.MonkeyPatch, changes: list[shell.Change], phases: list[str], patched: Any
) -> None:
    patches: list[Any] = []

    class Api:
        def __enter__(self) -> Any:
            return self

        def __exit__(self, *_exc: object) -> None:
            return None

        def patch(self, target: Any, patch: Any) -> None:
            stamp = patch["spec"].get("template", {}).get("metadata", {}).get("annotations")
            patches.append((target["metadata"]["name"], list(stamp) if stamp else patch["spec"]))

    monkeypatch.setattr(shell, "admin_api", lambda _request, deadline: Api())
    with shell.config_file(INIT, {}) as (path, _generated):
        shell._store(shell.Request(INIT, coredns_replicas=5), changes, path)
    assert [argv[3] for argv in kubeadm.calls] == phases
    assert patches == patched


@pytest.mark.parametrize(
    ("deployment", "wanted", "changed"),
    [
        ({}, 5, False),  # another DNS server
        ({"spec": {"replicas": 2}}, 0, False),
        ({"spec": {"replicas": 2}}, 2, False),
        ({"spec": {"replicas": 2}}, 5, True),
        ({"spec": {"replicas": 7}}, 5, False),  # an autoscaler's
    ],
)
def test_coredns_gets_no_fewer_replicas(deployment: dict[str, Any], wanted: int, changed: bool) -> None:
    found = shell.coredns_change(deployment, wanted)
    assert [(change.line, change.before, change.after) for change in found] == (
        [("coredns replicas", "2\n", "5\n")] if changed else []
    )


@pytest.mark.parametrize(
    ("config_map", "wanted", "lines"),
    [
        ({"data": {"kubeconfig.conf": "clusters:\n- cluster:\n    server: https://a:1\n"}}, "https://a:1", []),
        ({"data": {"kubeconfig.conf": "    server: https://a:1\n"}}, "https://b:1", ["kube-proxy server"]),
        ({}, "https://b:1", ["kube-proxy server"]),
        ({}, "", []),  # Cilium has its place
    ],
)
def test_kube_proxy_follows_the_apis_address(config_map: dict[str, Any], wanted: str, lines: list[str]) -> None:
    found = shell.kube_proxy_server_change(config_map, wanted)
    assert [change.line for change in found if change.before != change.after] == lines


def pod(name: str, address: str, ready: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "status": {"hostIP": address, "conditions": [{"type": "Ready", "status": ready}]},
    }


def test_pods_that_hold_the_rolling_up() -> None:
    pods = [
        pod("z", "10.0.0.2", "False"),
        pod("a", "10.0.0.3", "Unknown"),
        pod("own", "10.0.0.1", "False"),
        pod("well", "10.0.0.2", "True"),
        {"metadata": {"name": "new"}},
    ]
    assert shell.unready_pods(pods, ["10.0.0.2", "10.0.0.3"]) == ["pod a is not ready", "pod z is not ready"]


class Live:
    """A live control plane of files; processes run what the manifests say, except components that are ``broken`` by new settings."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.paths = look.Paths(str(root))
        self.request = shell.Request(INIT, timeout=0.0, paths=self.paths)
        self.broken = ""
        for name in core.COMPONENTS:
            path = Path(self.paths.manifest(name))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("old")
        monkeypatch.setattr(look, "processes", lambda _name: [])
        monkeypatch.setattr(look, "runs_manifest", lambda _running, _manifest, _since: True)
        monkeypatch.setattr(
            look,
            "component_health",
            lambda name, manifest, _server, _ca: "refuses" if (name, manifest) == (self.broken, "new") else "",
        )
        monkeypatch.setattr(shell, "last_words", lambda _name: "Its last words: unknown flag")

    def manifest(self, name: str) -> str:
        return Path(self.paths.manifest(name)).read_text()


@pytest.fixture
def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Live:
    return Live(tmp_path, monkeypatch)


def roll(live: Live, *names: str) -> None:
    wanted = {**MANIFESTS, **dict.fromkeys(names, "new")}
    shell._apply(live.request, shell.plan_configure(MANIFESTS, wanted, []), wanted, "/config")


def test_manifests_are_replaced_one_after_the_other(live: Live) -> None:
    roll(live, "kube-apiserver", "kube-scheduler")
    assert [live.manifest(name) for name in core.COMPONENTS] == ["new", "old", "new"]
    assert stat.S_IMODE(os.stat(live.paths.manifest("kube-apiserver")).st_mode) == 0o600


def test_settings_that_do_not_work_are_taken_back_and_the_rest_stays(live: Live) -> None:
    live.broken = "kube-controller-manager"
    with pytest.raises(core.KubeadmError) as caught:
        roll(live, *core.COMPONENTS)
    assert [live.manifest(name) for name in core.COMPONENTS] == ["new", "old", "old"]
    assert (
        "did not get well with its new settings (refuses). Its last words: unknown flag Its old settings were put back, and it is well again"
        in str(caught.value)
    )
    assert "The nodes after it were not touched" in str(caught.value)


def test_nothing_is_touched_while_another_control_plane_is_away(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell, "GATE_SECONDS", 0.0)
    monkeypatch.setattr(shell, "_peer_problems", lambda _request: ["the apiserver of 10.0.0.2 is not ready"])
    with pytest.raises(
        core.KubeadmError,
        match=r"'cp1' was not touched, because the others .* meanwhile: the apiserver of 10\.0\.0\.2",
    ):
        roll(live, "kube-apiserver")
    assert live.manifest("kube-apiserver") == "old"


def test_a_component_that_is_not_well_is_named_even_without_changes(live: Live) -> None:
    live.broken = "kube-scheduler"
    Path(live.paths.manifest("kube-scheduler")).write_text("new")
    wanted = {**MANIFESTS, "kube-scheduler": "new"}
    with pytest.raises(
        core.KubeadmError, match="kube-scheduler on 'cp1' is not well with the settings that it has: refuses"
    ):
        shell._apply(live.request, (), wanted, "/config")


def test_patches_lie_beside_the_configuration_that_names_them_and_go_with_it(kubeadm: Kubeadm) -> None:
    patch = {"spec": {"containers": [{"name": "kube-apiserver"}]}}
    for documents, kind in ((INIT, "InitConfiguration"), (JOIN, "JoinConfiguration")):
        with shell.config_file(documents, {"kube-apiserver0+strategic.json": patch}) as (path, _generated):
            written = [json.loads(part) for part in Path(path).read_text().split("---\n") if part]
            (directory,) = {document["patches"]["directory"] for document in written if document["kind"] == kind}
            (file,) = Path(directory).iterdir()
            assert (file.name, json.loads(file.read_text())) == ("kube-apiserver0+strategic.json", patch)
            assert not any("patches" in document for document in written if document["kind"] != kind)
        assert not file.exists()
    with shell.config_file(INIT, {}) as (path, _generated):
        assert "patches" not in Path(path).read_text(), "without patches nothing is said of them"


def test_a_certificate_comes_back_when_no_new_one_can_be_made(live: Live, kubeadm: Kubeadm) -> None:
    pair = [Path(live.paths.leaf("apiserver", ending)) for ending in ("crt", "key")]
    pair[0].parent.mkdir(parents=True)
    for path in pair:
        path.write_text(path.name)
    kubeadm.answer = CommandResult((), 1, "", "no CA key")
    with shell.config_file(INIT, {}) as (config, _generated), pytest.raises(core.KubeadmError, match="no CA key"):
        shell._renew(live.request, config)
    assert [path.read_text() for path in pair] == ["apiserver.crt", "apiserver.key"]
    assert sorted(path.name for path in pair[0].parent.iterdir()) == ["apiserver.crt", "apiserver.key"]


def test_configuring_what_is_not_there(live: Live) -> None:
    os.unlink(live.paths.manifest("kube-scheduler"))
    with pytest.raises(core.KubeadmError, match=r"not a whole control plane \(kube-scheduler missing\)"):
        shell.configure(live.request)
    assert shell.configure(shell.Request(INIT, check=True, paths=live.paths)) == shell.Outcome()


def test_one_kubeadm_at_a_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shell, "RUN_DIRECTORY", str(tmp_path))
    monkeypatch.setattr(shell, "PAUSE_SECONDS", 0.0)
    with shell.alone(), pytest.raises(core.KubeadmError, match="another run of kubeadm"), shell.alone(0.0):
        pass
    with shell.alone(0.0):
        pass
