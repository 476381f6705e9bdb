"""Images in containerd: what is planned from its table, what its client is told, what is refused."""

from __future__ import annotations

import concurrent.futures
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _images
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._command import CommandError
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._images import Ctr, Image, ImageError, Stored

sys.path.insert(0, str(Path(__file__).parent))
from file_server import FileServer, Page, sha256

HERE = Path(__file__).parent
TABLE = (HERE / "recorded" / "ctr_images_check.txt").read_text()
A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64
PAUSE = Image("registry.k8s.io/pause", "3.10.2", A)
BOTH = (PAUSE.reference, PAUSE.pinned)


def table(*entries: Stored) -> dict[str, Stored]:
    return {entry.reference: entry for entry in entries}


# --- reading


def test_the_recorded_table_of_containerd() -> None:
    stored = _images.parse_check(TABLE, {"registry.k8s.io/pause:3.10.2"})
    assert len(stored) == 12
    assert {name: (entry.ready, entry.pinned) for name, entry in stored.items() if ":v" in name or ":3" in name} == {
        "docker.io/calico/cni:v3.28.5": (True, False),
        "registry.k8s.io/kube-proxy:v1.36.3": (False, False),  # a layer is missing
        "registry.k8s.io/kube-scheduler:v1.36.3": (False, False),  # the manifest is missing
        "registry.k8s.io/pause:3.10.2": (True, True),
    }
    assert (
        stored["registry.k8s.io/pause:3.10.2"].digest
        == "sha256:547091c8e593ac231af8f59b23c97d16dbd54cfb9eae0fbc5830b6a1484bcaf0"
    )


def test_an_empty_containerd_prints_nothing() -> None:
    assert _images.parse_check("") == {}


def test_everything_that_is_wrong_is_told_at_once() -> None:
    entries = [
        {"name": "pause", "tag": "1", "digest": A},
        {"name": "a.b/c", "tag": "no tag", "digest": A},
        {"name": "a.b/c", "tag": "1", "digest": "sha256:1"},
        {"name": "a.b/d", "tag": "1", "digest": A},
        {"name": "a.b/d", "tag": "1", "digest": B},
        {"name": "a.b/d", "tag": "1", "digest": A},
    ]
    with pytest.raises(ImageError) as caught:
        _images.parse_images(entries)
    assert [problem.split(": ")[0] for problem in caught.value.problems] == [
        "pause:1",
        "a.b/c:no tag",
        "a.b/c:1",
        "a.b/d:1",
    ]
    assert len(_images.parse_images([entries[3], entries[5]])) == 1


# --- planning


@pytest.mark.parametrize(
    ("stored", "pin", "expected"),
    [
        (table(*(Stored(name, A, True) for name in BOTH)), False, None),
        (table(*(Stored(name, A, True, True) for name in BOTH)), True, None),
        (table(), False, ("absent", "")),
        (table(*(Stored(name, A, False) for name in BOTH)), False, (f"{A} (incomplete)", "")),
        (table(Stored(PAUSE.reference, B, True)), False, (B, "")),
        (table(Stored(PAUSE.reference, B, True), Stored(PAUSE.pinned, A, True)), False, (B, PAUSE.pinned)),
        (table(Stored(PAUSE.reference, A, True)), False, (f"{A} (not known by its digest)", PAUSE.reference)),
        (table(Stored("other.example.com/pause:1", A, True)), False, ("absent", "other.example.com/pause:1")),
        (table(*(Stored(name, A, True) for name in BOTH)), True, (A, PAUSE.reference)),
        (
            table(Stored(PAUSE.reference, A, True, True), Stored(PAUSE.pinned, A, True)),
            True,
            (f"{A} (pinned)", PAUSE.reference),
        ),
    ],
    ids=[
        "there",
        "there and pinned",
        "absent",
        "incomplete",
        "another digest",
        "only the name",
        "only the digest",
        "elsewhere",
        "pin",
        "pin one",
    ],
)
def test_the_plan(stored: dict[str, Stored], pin: bool, expected: tuple[str, str] | None) -> None:
    changes = _images.plan([PAUSE], stored, pin)
    assert [(change.before, change.source) for change in changes] == ([] if expected is None else [expected])
    assert all(change.fetch is (change.source == "") for change in changes)
    assert all(change.after == (f"{A} (pinned)" if pin else A) for change in changes)


def test_another_version_loses_its_pin_but_no_other_image_does() -> None:
    others = [
        Stored("registry.k8s.io/pause:3.9", B, True, True),
        Stored(f"registry.k8s.io/pause@{B}", B, True, True),
        Stored("registry.k8s.io/pause:3.8", B, True),
        Stored("registry.k8s.io/pausenot:3.9", B, True, True),
        Stored("registry.k8s.io:443/pause:3.9", B, True, True),
        Stored(B, B, True, True),
    ]
    stored = table(*(Stored(name, A, True, True) for name in BOTH), *others)
    changes = _images.plan([PAUSE], stored, pin=True)
    assert [(change.reference, change.before, change.after, change.fetch) for change in changes] == [
        ("registry.k8s.io/pause:3.9", f"{B} (pinned)", B, False),
        (f"registry.k8s.io/pause@{B}", f"{B} (pinned)", B, False),
    ]
    assert _images.plan([PAUSE], stored, pin=False) == []


def test_the_diff_names_the_reference() -> None:
    assert _images.diff(_images.plan([PAUSE], {})) == {
        "before": f"{PAUSE.reference}: absent\n",
        "after": f"{PAUSE.reference}: {A}\n",
    }


# --- acting: a client that behaves like containerd's, a real server


def make_image(
    name: str = "registry.k8s.io/pause", tag: str = "3.10.2", layer: bytes = b"layer" * 1000
) -> tuple[Image, dict[str, bytes]]:
    """An image and all its blobs by digest."""
    config = json.dumps({"os": "linux", "architecture": "amd64", "config": {}}).encode()
    entries = [{"digest": f"sha256:{sha256(data)}", "size": len(data)} for data in (config, layer)]
    manifest = json.dumps({"schemaVersion": 2, "config": entries[0], "layers": entries[1:]}).encode()
    return Image(name, tag, f"sha256:{sha256(manifest)}"), {
        f"sha256:{sha256(data)}": data for data in (manifest, config, layer)
    }


def pages(image: Image, blobs: dict[str, bytes]) -> dict[str, Page]:
    kinds = {digest: "manifests" if digest == image.digest else "blobs" for digest in blobs}
    return {f"/v2/{image.name}/{kinds[digest]}/{digest}": Page(data) for digest, data in blobs.items()}


@pytest.fixture
def ctr(tmp_path: Path) -> Ctr:
    program = tmp_path / "bin" / "ctr"
    program.parent.mkdir()
    shutil.copy(HERE / "fake_ctr.py", program)
    program.write_text(f"#!{sys.executable}\n" + program.read_text().split("\n", 1)[1])
    program.chmod(0o755)
    return Ctr(str(program), str(tmp_path / "containerd.sock"))


def log(ctr: Ctr) -> list[list[str]]:
    return json.loads((Path(ctr.program).parent / "containerd.json").read_text())["log"]


def bring(ctr: Ctr, server: FileServer, *images: Image, pin: bool = True) -> list[_images.Change]:
    changes = _images.plan(images, ctr.observe(), pin)
    _images.apply(ctr, changes, lambda image: _images.pull(ctr, server.url, image), 1, pin)
    _images.verify(images, ctr.observe(), pin)
    return changes


def test_an_image_is_pulled_by_digest_named_and_pinned_once(ctr: Ctr) -> None:
    image, blobs = make_image()
    with FileServer(pages(image, blobs)) as server:
        assert len(bring(ctr, server, image)) == 1
        asked = len(server.requests)
        assert bring(ctr, server, image) == []
        assert len(server.requests) == asked
    assert set(ctr.observe()) == {image.reference, image.pinned}
    assert [words[0] for words in log(ctr)] == ["pull", "tag", "label", "label"]
    assert log(ctr)[1] == ["tag", image.pinned, image.reference]


def test_a_missing_name_costs_no_pull(ctr: Ctr) -> None:
    image, blobs = make_image()
    with FileServer(pages(image, blobs)) as server:
        bring(ctr, server, image)
        bring(ctr, server, replace(image, tag="latest"))
    assert [words[0] for words in log(ctr)].count("pull") == 1


def test_all_failures_are_told_and_what_worked_stays(ctr: Ctr) -> None:
    good, good_blobs = make_image("registry.k8s.io/good")
    wrong, wrong_blobs = make_image("registry.k8s.io/wrong", layer=b"another")
    page, page_blobs = make_image("registry.k8s.io/page", layer=b"page")
    gone, _blobs = make_image("registry.k8s.io/gone", layer=b"gone")
    layer = next(digest for digest, data in wrong_blobs.items() if data == b"another")
    served = {**pages(good, good_blobs), **pages(wrong, wrong_blobs), **pages(page, page_blobs)}
    served[f"/v2/{wrong.name}/blobs/{layer}"] = Page(b"an0ther")
    html = b"<html><title>Sign in</title></html>"
    served[f"/v2/{page.name}/manifests/{page.digest}"] = Page(html, content_type="text/html")
    with FileServer(served) as server, pytest.raises(ImageError) as caught:
        bring(ctr, server, good, wrong, page, gone)
    assert (
        caught.value.problems[0] == f"{wrong.reference}: expected its blob {layer}, found sha256:{sha256(b'an0ther')}"
    )
    assert (
        f"{page.reference}: expected {page.digest}, found sha256:{sha256(html)} (an HTML page titled 'Sign in')"
        in str(caught.value)
    )
    assert (
        f"{gone.reference}: expected {gone.digest}" in caught.value.problems[2]
        and "HTTP 404" in caught.value.problems[2]
    )
    assert good.reference in ctr.observe()


def test_a_registry_that_does_not_answer_is_named(ctr: Ctr) -> None:
    with pytest.raises(ImageError, match=r"expected an answer from http://127\.0\.0\.1:1, found no answer"):
        _images.fetch_manifest("http://127.0.0.1:1", PAUSE, 2)


def test_a_containerd_that_is_not_there_is_an_error_not_an_empty_one(ctr: Ctr, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="containerd does not answer"):
        replace(ctr, address=str(tmp_path / "nothing.sock")).observe()


def staged(tmp_path: Path, blobs: dict[str, bytes]) -> dict[str, str]:
    paths = {}
    for digest, data in blobs.items():
        (tmp_path / digest[7:]).write_bytes(data)
        paths[digest[7:]] = str(tmp_path / digest[7:])
    return paths


def test_pushed_blobs_are_imported_as_an_oci_archive(ctr: Ctr, tmp_path: Path) -> None:
    image, blobs = make_image()
    paths = staged(tmp_path, blobs)
    changes = _images.plan([image], ctr.observe())
    _images.apply(ctr, changes, lambda wanted: _images.load(ctr, paths, wanted), 2, False)
    _images.verify([image], ctr.observe(), False)
    assert [words[0] for words in log(ctr)] == ["import", "tag"]


def test_an_index_brings_only_what_was_sent_of_it(tmp_path: Path) -> None:
    image, blobs = make_image()
    entries = [{"digest": image.digest, "size": 1}, {"digest": B, "size": 1}]
    index = json.dumps({"schemaVersion": 2, "manifests": entries}).encode()
    root = replace(image, digest=f"sha256:{sha256(index)}")
    paths = _images.archive_blobs(root, staged(tmp_path, {**blobs, root.digest: index}))
    assert list(paths) == [root.digest, *blobs]


@pytest.mark.parametrize("broken", [0, 1, 2], ids=["manifest", "configuration", "layer"])
@pytest.mark.parametrize("how", ["changed", "missing"])
def test_a_damaged_push_is_refused_before_containerd_sees_it(ctr: Ctr, tmp_path: Path, broken: int, how: str) -> None:
    image, blobs = make_image()
    paths = staged(tmp_path, blobs)
    digest = list(blobs)[broken]
    if how == "changed":
        Path(paths[digest[7:]]).write_bytes(b"damaged")
        found = f"found sha256:{sha256(b'damaged')}"
    else:
        del paths[digest[7:]]
        found = "found nothing"
    with pytest.raises(ImageError, match=f"{image.reference}: expected {digest}.*{found}"):
        _images.load(ctr, paths, image)
    assert not (Path(ctr.program).parent / "containerd.json").exists()


def test_an_import_that_dies_early_is_a_failure_with_its_words(tmp_path: Path) -> None:
    image, blobs = make_image(layer=b"x" * 5_000_000)
    program = tmp_path / "ctr"
    program.write_text("#!/bin/sh\necho 'ctr: no space left on device' >&2\nexit 3\n")
    program.chmod(0o755)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        future = pool.submit(_images.load, Ctr(str(program)), staged(tmp_path, blobs), image)
        with pytest.raises(CommandError, match=r"exit code 3: ctr: no space left on device"):
            future.result(timeout=20)
