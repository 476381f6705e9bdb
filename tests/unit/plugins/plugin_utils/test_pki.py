"""The cluster's authorities: one truth, refusals, plans, and convergence after a run that was cut anywhere."""

from __future__ import annotations

import contextlib
import datetime
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _pki_files as files
from ansible_collections.bare_metal.kubernetes.plugins.plugin_utils import pki, pki_x509

NOW = datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC)
RESOURCES = ["secrets"]
CA = "/etc/kubernetes/pki/ca.crt"
ETCD_CA = "/etc/kubernetes/pki/etcd/ca.crt"


@dataclass
class Machine:
    """A host's files in memory; ``facts`` says of them what pki_facts would."""

    name: str
    address: str
    control_plane: bool = True
    etcd: bool = True
    user: bool = False
    entries: dict[str, dict] = field(default_factory=dict)

    def facts(self) -> dict:
        found = {}
        for spec in files.files_of(self.control_plane, self.etcd):
            entry = self.entries.get(spec.path)
            if entry is None:
                continue
            fact = {"kind": spec.kind, "type": "file", "mode": entry["mode"], "owner": entry["owner"]}
            text = entry.get("content")
            if spec.kind in ("certificate", "public_key"):
                fact["content"] = text
            if spec.kind == "private_key":
                fact["sha256"] = files.digest(text)
                if spec.certificate:
                    fact["matches"] = self._matches(spec.certificate, text)
            if spec.kind == "encryption":
                fact["redacted"] = files.redact_encryption(text)
            found[spec.path] = fact
        return {
            "control_plane": self.control_plane,
            "etcd": self.etcd,
            "names": [self.name],
            "addresses": [self.address],
            "etcd_user": self.user,
            "files": found,
        }

    def _matches(self, certificate_path: str, key: str) -> bool:
        certificate = self.entries.get(certificate_path)
        if certificate is None:
            return False
        private = serialization.load_pem_private_key(key.encode(), None)
        try:
            return x509.load_pem_x509_certificate(certificate["content"].encode()).public_key() == private.public_key()
        except ValueError:
            return False

    def keys(self) -> dict:
        return {path: {"content": entry.get("content")} for path, entry in self.entries.items()}

    def write(self, made: list[dict], stop_after: int | None = None) -> None:
        for entry in made[:stop_after]:
            self.entries[entry["path"]] = {**self.entries.get(entry["path"], {}), **entry}

    @property
    def host(self) -> pki.Host:
        return pki.Host.of(self.name, self.facts())


def control_planes(count: int = 3) -> list[Machine]:
    return [Machine(f"cp{number}", f"10.0.0.{number}") for number in range(1, count + 1)]


def run(
    machines: list[Machine], now: datetime.datetime = NOW, cut: Mapping[str, int] | None = None
) -> dict[str, list[str]]:
    """One whole run over the machines, as the two actions do it; returns the changed paths.

    ``cut`` stops the writing of a machine after that many files; its key ``found`` does so while the first copy of new secrets is stored, and ends the run.
    """
    hosts = [machine.host for machine in machines]
    survey = pki.survey(hosts, [machine.name for machine in machines], now)
    assert survey.problems == ()
    options = {"renew_before_days": 90, "resources": RESOURCES, "now": now}
    plans = {host.name: pki.plan_host(host, survey.shared, **options) for host in hosts}
    if not any(pki.needs_secrets(plan) for plan in plans.values()):
        shared, secrets = survey.shared, pki.Secrets()
    else:
        known = pki.Secrets()
        if survey.best_holder:
            holder = next(machine for machine in machines if machine.name == survey.best_holder)
            known = pki.read_secrets(holder.keys(), survey.shared)
        shared, secrets = pki.make_secrets(survey.shared, known, now)
        assert pki.unpack(pki.pack(shared, secrets)) == (shared, secrets)
        if known != secrets:
            host = next(host for host in hosts if host.name == pki.key_holder(hosts, survey))
            first = pki.founding(pki.plan_host(host, shared, **options))
            made = pki.build_files(host, first, shared, secrets, RESOURCES, now)
            founder = next(machine for machine in machines if machine.name == host.name)
            founder.write(made, (cut or {}).get("found"))
            if cut and "found" in cut:
                return {}
    changed = {}
    for machine, host in zip(machines, hosts, strict=True):
        plan = pki.plan_host(host, shared, **options)
        assert {c.path for c in plan} <= {c.path for c in plans[host.name]}
        made = pki.build_files(host, plan, shared, secrets, RESOURCES, now)
        machine.user = machine.etcd  # the module makes the user before the first file
        machine.write(made, None if cut is None else cut.get(machine.name))
        changed[machine.name] = [change.path for change in plan]
    return changed


def certificate(machine: Machine, path: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(machine.entries[path]["content"].encode())


def problems(machines: list[Machine], expected: list[str] | None = None, now: datetime.datetime = NOW) -> str:
    hosts = [machine.host for machine in machines]
    return "\n".join(pki.survey(hosts, expected or [host.name for host in hosts], now).problems)


@pytest.fixture(scope="module")
def built() -> list[Machine]:
    machines = [*control_planes(), Machine("etcd1", "fd00::e1", control_plane=False)]
    run(machines)
    return machines


def copied(machines: list[Machine]) -> list[Machine]:
    return [replace(machine, entries={k: dict(v) for k, v in machine.entries.items()}) for machine in machines]


def test_first_run_makes_everything_and_second_nothing(built):
    machines = copied(built)
    assert run(machines) == {"cp1": [], "cp2": [], "cp3": [], "etcd1": []}


def test_hosts_share_authorities_and_an_etcd_host_gets_no_authority_key(built):
    assert len({machine.entries[CA]["content"] for machine in built[:3]}) == 1
    assert len({machine.entries[files.ENCRYPTION_PATH]["content"] for machine in built[:3]}) == 1
    member = built[3]
    assert sorted(path for path, entry in member.entries.items() if entry.get("content")) == [
        "/etc/etcd/pki/ca.crt",
        "/etc/etcd/pki/client.crt",
        "/etc/etcd/pki/client.key",
        "/etc/etcd/pki/peer.crt",
        "/etc/etcd/pki/peer.key",
        "/etc/etcd/pki/server.crt",
        "/etc/etcd/pki/server.key",
    ]
    assert member.entries["/etc/etcd/pki/ca.crt"]["content"] == built[0].entries[ETCD_CA]["content"]


def test_private_files_are_private(built):
    for machine in built:
        for path, entry in machine.entries.items():
            if path.endswith((".key", ".json")):
                assert entry["mode"] == "0600", path
            assert entry["owner"] == ("etcd" if path.startswith("/etc/etcd/pki") else "root"), path


def test_leaves_are_what_etcd_asks_for(built):
    server = certificate(built[0], "/etc/etcd/pki/server.crt")
    authority = certificate(built[0], ETCD_CA)
    server.verify_directly_issued_by(authority)
    assert pki_x509.names_of(server) == {"cp1", "localhost", "127.0.0.1", "::1", "10.0.0.1"}
    assert pki_x509.usages_of(server) == {"server", "client"}
    assert (server.not_valid_after_utc - NOW).days == pki_x509.LEAF_DAYS
    client = certificate(built[0], "/etc/kubernetes/pki/apiserver-etcd-client.crt")
    assert (pki_x509.names_of(client), pki_x509.usages_of(client)) == (frozenset(), {"client"})
    assert "fd00::e1" in pki_x509.names_of(certificate(built[3], "/etc/etcd/pki/peer.crt"))


def test_openssl_takes_the_chain(built, tmp_path):
    """The server certificate is trusted by a TLS client that knows the CA and asks for the address; made now, as OpenSSL looks at the clock."""
    machine = Machine("cp1", "127.0.0.1")
    run([machine], datetime.datetime.now(datetime.UTC))
    for name in ("ca.crt", "server.crt", "server.key"):
        (tmp_path / name).write_text(machine.entries[f"/etc/etcd/pki/{name}"]["content"])
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context(cafile=tmp_path / "ca.crt")
    server.load_cert_chain(tmp_path / "server.crt", tmp_path / "server.key")
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = client.wrap_bio(to_client, to_server, server_hostname="127.0.0.1")
    two = server.wrap_bio(to_server, to_client, server_side=True)
    for _round in range(4):
        for side in (one, two):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
    assert one.version() in ("TLSv1.2", "TLSv1.3")


def test_new_control_plane_gets_the_same_authorities(built):
    machines = [*copied(built), Machine("cp0", "10.0.0.9")]
    changed = run(machines)
    assert changed["cp1"] == changed["etcd1"] == []
    for path in (CA, files.ENCRYPTION_PATH, pki.SERVICE_ACCOUNT_KEY, pki.SERVICE_ACCOUNT_PUBLIC):
        assert machines[-1].entries[path]["content"] == machines[0].entries[path]["content"]


@pytest.mark.parametrize("lost", ["cp1", "cp2", "cp3"])
def test_any_control_plane_can_lose_everything(built, lost):
    machines = copied(built)
    before = machines[0].entries[CA]["content"], machines[1].entries[CA]["content"]
    next(machine for machine in machines if machine.name == lost).entries.clear()
    run(machines)
    assert {machine.entries[CA]["content"] for machine in machines[:3]} == set(before)
    assert not any(run(machines).values())


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda m: m.entries.pop("/etc/etcd/pki/peer.key"), {"/etc/etcd/pki/peer.key", "/etc/etcd/pki/peer.crt"}),
        (lambda m: m.entries.pop("/etc/etcd/pki/peer.crt"), {"/etc/etcd/pki/peer.key", "/etc/etcd/pki/peer.crt"}),
        (
            lambda m: m.entries["/etc/etcd/pki/peer.crt"].update(content="rubbish"),
            {"/etc/etcd/pki/peer.key", "/etc/etcd/pki/peer.crt"},
        ),
        (
            lambda m: m.entries["/etc/etcd/pki/server.key"].update(
                content=m.entries["/etc/etcd/pki/peer.key"]["content"]
            ),
            {"/etc/etcd/pki/server.key", "/etc/etcd/pki/server.crt"},
        ),
        (lambda m: m.entries["/etc/kubernetes/pki/ca.key"].update(mode="0644"), {"/etc/kubernetes/pki/ca.key"}),
        (lambda m: m.entries["/etc/etcd/pki"].update(owner="root"), {"/etc/etcd/pki"}),
        (lambda m: m.entries.pop("/etc/kubernetes/pki/ca.key"), {"/etc/kubernetes/pki/ca.key"}),
        (lambda m: m.entries.pop(pki.SERVICE_ACCOUNT_PUBLIC), {pki.SERVICE_ACCOUNT_PUBLIC}),
        (lambda m: m.entries.pop(files.ENCRYPTION_PATH), {files.ENCRYPTION_PATH}),
        (lambda m: setattr(m, "user", False), {"user etcd"}),
        (
            lambda m: setattr(m, "address", "10.0.0.77"),
            {f"/etc/etcd/pki/{n}" for n in ("server.key", "server.crt", "peer.key", "peer.crt")},
        ),
    ],
)
def test_damage_is_mended_and_nothing_else_touched(built, damage, expected):
    machines = copied(built)
    damage(machines[1])
    changed = run(machines)
    assert set(changed["cp2"]) == expected
    assert not any(changed[name] for name in ("cp1", "cp3", "etcd1"))
    assert not any(run(machines).values())


def test_a_differing_public_service_account_key_is_written_anew_everywhere(built):
    machines = copied(built)
    machines[0].entries[pki.SERVICE_ACCOUNT_PUBLIC]["content"] = "other"
    assert run(machines)["cp1"] == [pki.SERVICE_ACCOUNT_PUBLIC]
    assert len({machine.entries[pki.SERVICE_ACCOUNT_PUBLIC]["content"] for machine in machines[:3]}) == 1
    assert not any(run(machines).values())


@pytest.mark.parametrize(("days", "renewed"), [(274, False), (276, True)])
def test_leaves_are_renewed_90_days_before_their_end(built, days, renewed):
    machines = copied(built)
    changed = run(machines, NOW + datetime.timedelta(days=days))
    assert bool(changed["cp1"]) is renewed
    if renewed:
        assert "/etc/kubernetes/pki/apiserver-etcd-client.crt" in changed["cp1"] and CA not in changed["cp1"]


def test_rights_alone_need_no_secrets(built):
    machines = copied(built)
    machines[0].entries["/etc/kubernetes/pki/ca.key"]["mode"] = "0644"
    plan = pki.plan_host(
        machines[0].host,
        pki.survey([m.host for m in machines], [], NOW).shared,
        renew_before_days=90,
        resources=RESOURCES,
        now=NOW,
    )
    assert [change.path for change in plan] == ["/etc/kubernetes/pki/ca.key"] and not pki.needs_secrets(plan)


def test_other_encrypted_resources_change_the_file_and_keep_the_key(built):
    host = built[0].host
    shared = pki.survey([host], [], NOW).shared
    options = {"renew_before_days": 90, "resources": ["secrets", "configmaps"], "now": NOW}
    (change,) = pki.plan_host(host, shared, **options)
    secrets = pki.read_secrets(built[0].keys(), shared)
    (made,) = pki.build_files(host, [change], shared, secrets, options["resources"], NOW)
    assert pki.encryption_keys(pki.json.loads(made["content"])) == secrets.encryption


def test_a_missing_encryption_key_of_a_cluster_is_told(built):
    machines = copied(built)[:1]
    machines[0].entries.pop(files.ENCRYPTION_PATH)
    survey = pki.survey([machines[0].host], [], NOW)
    assert survey.problems == () and "put the old file back" in survey.warnings[0]
    assert pki.survey([Machine("cp1", "10.0.0.1").host], ["cp1"], NOW).warnings == ()


# --- refusals -------------------------------------------------------------------------------------------------------------------------------


def test_two_authorities_are_refused_with_hosts_and_fingerprints(built):
    other = Machine("cp9", "10.0.0.9")
    run([other])
    said = problems([*copied(built), other])
    for title in ("Kubernetes CA", "front proxy CA", "etcd CA", "service account key", "encryption key"):
        assert f"different versions of the {title}" in said
    assert (
        pki_x509.fingerprint(certificate(other, CA)) in said and pki_x509.fingerprint(certificate(built[0], CA)) in said
    )
    assert "cp9: SHA-256" in said and "cp1, cp2, cp3: SHA-256" in said and "move" in said


def test_authority_on_an_etcd_host_of_another_cluster_is_refused(built):
    other = Machine("etcd9", "10.0.0.9", control_plane=False)
    other.entries["/etc/etcd/pki/ca.crt"] = {
        "content": pki_x509.make_authority("etcd-ca", NOW)[0],
        "mode": "0644",
        "owner": "etcd",
    }
    assert "different versions of the etcd CA" in problems([*copied(built), other])


def test_certificate_without_key_is_refused(built):
    machines = copied(built)
    for machine in machines[:3]:
        machine.entries.pop("/etc/kubernetes/pki/etcd/ca.key")
    said = problems(machines)
    assert (
        "no control plane that answered has its private key /etc/kubernetes/pki/etcd/ca.key" in said
        and "cp1, cp2, cp3, etcd1" in said
    )


def test_nothing_is_made_while_a_host_was_not_asked():
    machines = control_planes(2)
    assert "cp3 could not be asked" in problems(machines, ["cp1", "cp2", "cp3"])
    assert problems(machines, ["cp1", "cp2"]) == ""


def test_an_unasked_host_does_not_matter_once_the_secrets_are_known(built):
    assert problems(copied(built)[:1], ["cp1", "cp2", "cp3"]) == ""


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        (lambda m: m.entries[CA].update(content="rubbish"), "cp1: /etc/kubernetes/pki/ca.crt is not a PEM certificate"),
        (lambda m: m.entries[files.ENCRYPTION_PATH].update(content="kind: x"), "not an EncryptionConfiguration"),
        (lambda m: m.entries[files.ENCRYPTION_PATH].update(content='{"resources": []}'), "no secretbox key"),
        (lambda m: setattr(m, "address", "node.example"), "cp1: cluster_node_ip is 'node.example'"),
    ],
)
def test_unusable_facts_are_refused(built, break_it, words):
    machines = copied(built)
    break_it(machines[0])
    assert words in problems(machines)


def test_an_ended_authority_is_refused_and_an_ending_one_is_told():
    machine = Machine("cp1", "10.0.0.1")
    run([machine])
    assert "ended on 2036" in problems([machine], now=NOW + datetime.timedelta(days=3651))
    survey = pki.survey([machine.host], ["cp1"], NOW + datetime.timedelta(days=3500))
    assert survey.problems == () and len(survey.warnings) == 3 and "in 150 days" in survey.warnings[0]


def test_a_leaf_is_no_authority(built):
    machines = copied(built)[:1]
    machines[0].entries[CA]["content"] = machines[0].entries["/etc/etcd/pki/server.crt"]["content"]
    machines[0].entries["/etc/kubernetes/pki/ca.key"]["content"] = machines[0].entries["/etc/etcd/pki/server.key"][
        "content"
    ]
    assert "is no CA certificate" in problems(machines)


def test_secrets_spread_over_hosts_are_refused(built):
    machines = copied(built)[:2]
    machines[0].entries.pop("/etc/kubernetes/pki/ca.key")
    machines[1].entries.pop("/etc/kubernetes/pki/etcd/ca.key")
    assert "no single control plane has all secrets" in problems(machines)


def test_all_problems_come_at_once(built):
    machines = copied(built)
    machines[0].entries[CA]["content"] = "rubbish"
    machines[1].address = "x"
    assert len(problems(machines).splitlines()) == 2


def test_wrong_keys_from_the_holder_are_not_used(built):
    shared = pki.survey([built[0].host], [], NOW).shared
    wrong = built[0].keys()
    wrong["/etc/kubernetes/pki/ca.key"] = wrong["/etc/kubernetes/pki/front-proxy-ca.key"]
    wrong[pki.SERVICE_ACCOUNT_KEY] = wrong["/etc/kubernetes/pki/ca.key"]
    wrong[files.ENCRYPTION_PATH] = {
        "content": '{"resources":[{"providers":[{"secretbox":{"keys":[{"name":"a","secret":"c2hvcnQ="}]}}]}]}'
    }
    with pytest.raises(pki.PkiError) as caught:
        pki.read_secrets(wrong, shared)
    assert len(caught.value.problems) == 3
    assert "PRIVATE" not in str(caught.value) and "c2hvcnQ=" not in str(caught.value)


def test_secrets_do_not_show_in_their_representation(built):
    secrets = pki.read_secrets(built[0].keys(), pki.survey([built[0].host], [], NOW).shared)
    assert repr(secrets) == "Secrets()"


# --- a run that is killed anywhere ------------------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    cuts=st.lists(
        st.fixed_dictionaries(
            {name: st.integers(0, 22) for name in ("cp1", "cp2", "etcd1")}, optional={"found": st.integers(0, 14)}
        ),
        max_size=4,
    )
)
def test_runs_cut_anywhere_converge_without_manual_work(cuts):
    machines = [*control_planes(2), Machine("etcd1", "10.0.1.1", control_plane=False)]
    for cut in cuts:
        run(machines, cut=cut)
    seen = {machine.entries[CA]["content"] for machine in machines if CA in machine.entries}
    run(machines)
    assert not any(run(machines).values())
    assert not seen or {machines[0].entries[CA]["content"]} == seen
    assert {
        entry["content"]
        for m in machines
        for path, entry in m.entries.items()
        if path in ("/etc/etcd/pki/ca.crt", ETCD_CA)
    } == {machines[0].entries[ETCD_CA]["content"]}
