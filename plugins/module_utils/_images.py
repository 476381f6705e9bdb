# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bundle's images in containerd's namespace of Kubernetes: observe, plan, act. The module ``node_images`` is its shell.

An image is there when ``name:tag`` and ``name@digest`` both stand for the wanted digest, all its content is there, and it is unpacked.
``name:tag`` is what pods ask for, ``name@digest`` is what the CRI reports and what pods pinned by digest ask for. containerd's CRI plugin
sees images that appear in the namespace ``k8s.io`` by events and makes them its own, so nothing else has to be told.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import io
import json
import os
import re
import subprocess
import tarfile
import tempfile
import threading
import typing as t
import urllib.error
import urllib.request
from dataclasses import asdict, dataclass

from ansible_collections.bare_metal.kubernetes.plugins.module_utils import _atomic, _download, _oci_registry
from ansible_collections.bare_metal.kubernetes.plugins.module_utils._command import CommandError, run, tail

NAMESPACE = "k8s.io"
PULL_SECONDS = 1800.0
LARGEST_MANIFEST = 4 * 1024 * 1024  # registries refuse larger ones (distribution-spec, "Pushing manifests")
PINNED_LABEL = "io.cri-containerd.pinned"  # the CRI tells the kubelet of it, whose image garbage collection leaves such images alone


class ImageError(Exception):
    """Everything that is wrong with a call, one line each."""

    def __init__(self, problems: t.Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True)
class Image:
    """A wanted image; ``digest`` is that of its manifest or index."""

    name: str
    tag: str
    digest: str

    @property
    def reference(self) -> str:
        return f"{self.name}:{self.tag}"

    @property
    def pinned(self) -> str:
        return f"{self.name}@{self.digest}"


@dataclass(frozen=True)
class Stored:
    """A reference in containerd: what it stands for, whether all of that is there and unpacked, whether it is kept from collection."""

    reference: str
    digest: str
    ready: bool
    pinned: bool = False

    @property
    def text(self) -> str:
        """For a diff."""
        remarks = [remark for remark, flag in (("incomplete", not self.ready), ("pinned", self.pinned)) if flag]
        return self.digest + (f" ({', '.join(remarks)})" if remarks else "")


@dataclass(frozen=True)
class Change:
    """A reference that has to change.

    ``source``: a complete reference with the wanted digest, so only names or the pin are missing; "": the content has to be fetched.
    ``image`` None: an older image of the same name, which loses its pin and nothing else.
    """

    reference: str
    before: str
    after: str
    image: t.Optional[Image] = None
    source: str = ""

    @property
    def fetch(self) -> bool:
        return self.image is not None and not self.source


def parse_images(entries: t.Sequence[t.Mapping[str, t.Any]]) -> list[Image]:
    """Turn ``[{name, tag, digest}]`` into typed form; all that is wrong is told at once. The same image twice is one."""
    problems: list[str] = []
    digests: dict[str, str] = {}
    images: list[Image] = []
    for entry in entries:
        image = Image(str(entry.get("name")), str(entry.get("tag")), str(entry.get("digest")))
        try:
            _oci_registry.split_image_name(image.name)
            _oci_registry.check_tag(image.tag)
            _oci_registry.check_digest(image.digest)
        except _oci_registry.RegistryNameError as exc:
            problems.append(f"{image.reference}: {exc}")
            continue
        if digests.setdefault(image.reference, image.digest) != image.digest:
            problems.append(f"{image.reference}: wanted as {digests[image.reference]} and as {image.digest}")
        if image not in images:
            images.append(image)
    if problems:
        raise ImageError(problems)
    return images


_ROW = re.compile(
    r"(?P<reference>\S+)\s+(?P<type>\S+)\s+(?P<digest>sha256:[0-9a-f]{64})\s+(?P<status>\S+).*\s(?P<unpacked>true|false)"
)


def parse_check(text: str, pinned: t.Container[str] = ()) -> dict[str, Stored]:
    """Read the table of ``ctr images check`` (containerd 1.7 and 2)::

        REF TYPE DIGEST STATUS SIZE UNPACKED
        registry.k8s.io/pause:3.10.2 application/... sha256:5470... complete (3/3) 712.1 KiB/712.1 KiB true

    :param pinned: references that carry the pin, which the table does not show.
    """
    rows = (_ROW.fullmatch(line.rstrip()) for line in text.splitlines())
    found = (row.groupdict() for row in rows if row)
    return {
        row["reference"]: Stored(
            row["reference"],
            row["digest"],
            row["status"] == "complete" and row["unpacked"] == "true",
            row["reference"] in pinned,
        )
        for row in found
    }


def _missing(image: Image, stored: t.Mapping[str, Stored], pin: bool) -> t.Optional[Change]:
    current = [stored.get(reference) for reference in (image.reference, image.pinned)]
    if all(found and found.ready and found.digest == image.digest and (found.pinned or not pin) for found in current):
        return None
    candidates = [*(found for found in current if found), *stored.values()]
    usable = [found.reference for found in candidates if found.ready and found.digest == image.digest]
    before = current[0].text if current[0] else "absent"
    if current[1] is None and current[0] and current[0].digest == image.digest:
        before += " (not known by its digest)"
    after = Stored(image.reference, image.digest, True, pin or bool(current[0] and current[0].pinned)).text
    return Change(image.reference, before, after, image, usable[0] if usable else "")


def plan(images: t.Sequence[Image], stored: t.Mapping[str, Stored], pin: bool = False) -> list[Change]:
    """Return what has to change, and for each whether naming what is already there is enough.

    With ``pin``, other versions of the wanted images lose their pin, so that the kubelet may collect them when it needs the space.
    """
    changes = [change for change in (_missing(image, stored, pin) for image in images) if change]
    if pin:
        names = {image.name for image in images}
        wanted = {reference for image in images for reference in (image.reference, image.pinned)}
        changes += [
            Change(old.reference, old.text, Stored(old.reference, old.digest, old.ready).text)
            for old in stored.values()
            if old.pinned and old.reference not in wanted and _NAME_END.split(old.reference)[0] in names
        ]
    return changes


_NAME_END = re.compile(r"@|:(?=[^/]*$)")


def diff(changes: t.Sequence[Change]) -> dict[str, str]:
    """Before and after of every changed reference."""
    return {
        "before": "".join(f"{change.reference}: {change.before}\n" for change in changes),
        "after": "".join(f"{change.reference}: {change.after}\n" for change in changes),
    }


def describe(changes: t.Sequence[Change]) -> list[dict[str, t.Any]]:
    """Describe the changes for the module's result."""
    return [
        {"reference": change.reference, "before": change.before, "after": change.after, "fetch": change.fetch}
        for change in changes
    ]


def missing(changes: t.Sequence[Change]) -> list[dict[str, str]]:
    """Images whose content has to be brought to the node."""
    return [asdict(change.image) for change in changes if change.image and change.fetch]


# --- acting


@dataclass(frozen=True)
class Ctr:
    """containerd's own client, bound to one containerd."""

    program: str = "ctr"
    address: str = "/run/containerd/containerd.sock"

    def argv(self, *words: str) -> list[str]:
        """The command line for ``ctr images ...``."""
        return [self.program, "--address", self.address, "--namespace", NAMESPACE, "images", *words]

    def observe(self) -> dict[str, Stored]:
        """All references of the namespace. A damaged image makes the program fail after it has printed the table."""
        result = run(self.argv("check"), timeout=120, check=False)
        if result.rc != 0 and "REF" not in result.stdout:
            raise CommandError(f"containerd does not answer at {self.address}: {tail(result.stderr, 3)}", result)
        pinned = run(self.argv("ls", "--quiet", f'labels."{PINNED_LABEL}"==pinned'), timeout=60).stdout.split()
        return parse_check(result.stdout, frozenset(pinned))

    def name(self, source: str, *references: str) -> None:
        """Let more references stand for what ``source`` stands for."""
        others = [reference for reference in references if reference != source]
        if others:
            run(self.argv("tag", source, *others), timeout=60)

    def pin(self, *references: str) -> None:
        """Keep images from the kubelet's garbage collection."""
        for reference in references:
            run(self.argv("label", reference, f"{PINNED_LABEL}=pinned"), timeout=60)

    def unpin(self, reference: str) -> None:
        """Leave an image to the kubelet's garbage collection."""
        run(self.argv("label", reference, f"{PINNED_LABEL}="), timeout=60)


def fetch_manifest(registry: str, image: Image, timeout: float = 30.0) -> bytes:
    """Get an image's manifest by digest and check it, because containerd's own words about a wrong one are hard to read."""
    url = _oci_registry.manifest_url(registry, image.name, image.digest)
    request = urllib.request.Request(url, headers={"Accept": ", ".join(_oci_registry.MANIFEST_TYPES)})
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=timeout) as response:
            text = t.cast("bytes", response.read(LARGEST_MANIFEST + 1))
    except urllib.error.HTTPError as exc:
        with exc:
            raise ImageError(
                [f"{image.reference}: expected {image.digest} at {url}, found HTTP {exc.code} {exc.reason}"]
            ) from exc
    except OSError as exc:
        raise ImageError(
            [f"{image.reference}: expected an answer from {registry}, found {_download.describe_failure(exc)}"]
        ) from exc
    check_bytes(image.reference, image.digest, text, url)
    return text


def check_bytes(name: str, digest: str, data: bytes, where: str) -> None:
    """Refuse bytes that do not have their digest."""
    found = _download.sha256_text(data)
    if found != digest:
        page = f" ({_download.describe_page(data)})" if _download.looks_like_html(data[:512]) else ""
        raise ImageError([f"{name}: expected {digest}, found {found}{page} at {where}"])


def pull(ctr: Ctr, registry: str, image: Image) -> str:
    """Let containerd pull by digest from the bundle's registry and from nowhere else; it checks every blob. Returns the new reference."""
    fetch_manifest(registry, image)
    upstream, _path = _oci_registry.split_image_name(image.name)
    with tempfile.TemporaryDirectory(prefix="node-images-") as hosts:
        directory = os.path.join(hosts, _oci_registry.hosts_directory(upstream))
        os.mkdir(directory)
        text = _oci_registry.registry_hosts_toml(upstream, registry, fall_back=False)
        _atomic.write_atomic(os.path.join(directory, "hosts.toml"), text.encode())
        run(ctr.argv("pull", "--hosts-dir", hosts, image.pinned), timeout=PULL_SECONDS)
    return image.pinned


def manifest_children(text: bytes) -> list[str]:
    """Digests that a manifest or index names."""
    document = json.loads(text)
    entries = document["manifests"] if "manifests" in document else [document["config"], *document["layers"]]
    return list(dict.fromkeys(_oci_registry.check_digest(entry["digest"]) for entry in entries))


def archive_blobs(image: Image, staged: t.Mapping[str, str]) -> dict[str, str]:
    """Check what the controller has sent for an image; return digest to path, the manifest first.

    Manifests of an index that were not sent belong to other architectures.
    """
    paths: dict[str, str] = {}
    queue = [image.digest]
    while queue:
        digest = queue.pop(0)
        path = staged.get(digest[7:])
        if path is None:
            raise ImageError([f"{image.reference}: expected {digest} from the controller, found nothing"])
        found = f"sha256:{_atomic.sha256_of_file(path)}"
        if found != digest:
            raise ImageError([f"{image.reference}: expected {digest}, found {found} from the controller"])
        if digest not in paths:
            paths[digest] = path
            queue += _children(path, staged)
    return paths


def _children(path: str, staged: t.Mapping[str, str]) -> list[str]:
    """Children of a blob if it is a manifest. Configurations are JSON without these keys, layers are not JSON."""
    if os.path.getsize(path) > LARGEST_MANIFEST:
        return []
    with open(path, "rb") as stream:
        text = stream.read()
    try:
        document = json.loads(text)
    except ValueError:
        return []
    if not isinstance(document, dict) or not (
        "manifests" in document or ("layers" in document and "config" in document)
    ):
        return []
    children = manifest_children(text)
    return [digest for digest in children if digest[7:] in staged] if "manifests" in document else children


def write_archive(image: Image, paths: t.Mapping[str, str], stream: t.IO[bytes]) -> None:
    """Write an OCI image layout (image-spec, image-layout.md) as a tar stream, which names the image in containerd's annotation."""
    with open(paths[image.digest], "rb") as source:
        root = source.read()
    declared = json.loads(root).get("mediaType")
    kind = declared or _oci_registry.MANIFEST_TYPES[2 if "manifests" in json.loads(root) else 0]
    annotations = {"io.containerd.image.name": image.reference, "org.opencontainers.image.ref.name": image.tag}
    entry = {"mediaType": kind, "digest": image.digest, "size": len(root), "annotations": annotations}
    index = {"schemaVersion": 2, "mediaType": _oci_registry.MANIFEST_TYPES[2], "manifests": [entry]}
    with tarfile.open(fileobj=stream, mode="w|", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in (("oci-layout", {"imageLayoutVersion": "1.0.0"}), ("index.json", index)):
            text = json.dumps(data).encode()
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text))
        for digest, path in paths.items():
            member = tarfile.TarInfo(f"blobs/sha256/{digest[7:]}")
            member.size = os.path.getsize(path)
            with open(path, "rb") as source:
                archive.addfile(member, source)


def load(ctr: Ctr, staged: t.Mapping[str, str], image: Image) -> str:
    """Import an image from blobs that are on the node, without a copy of them in between. Returns the new reference."""
    paths = archive_blobs(image, staged)
    argv = ctr.argv("import", "-")
    process = subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "LC_ALL": "C"},
    )
    timer = threading.Timer(PULL_SECONDS, process.kill)
    timer.start()
    broken = ""
    try:
        with process:
            if process.stdin is None or process.stderr is None:  # never: both are pipes
                raise CommandError(f"'{' '.join(argv)}' has no pipes")
            try:
                write_archive(image, paths, process.stdin)
                process.stdin.close()
            except BrokenPipeError:
                broken = "it closed its input"
                with contextlib.suppress(BrokenPipeError):
                    process.stdin.close()
            said = process.stderr.read().decode("utf-8", "replace")
    finally:
        timer.cancel()
    if process.returncode != 0 or broken:
        reason = tail(said, 5) or broken or "it printed nothing"
        raise CommandError(f"'{' '.join(argv)}' failed with exit code {process.returncode}: {reason}")
    return image.reference


_WRONG_BLOB = re.compile(r"unexpected commit digest (sha256:[0-9a-f]{64}), expected (sha256:[0-9a-f]{64})")


def explain(change: Change, error: CommandError) -> str:
    """Say what containerd found wrong, in few words when it is a blob that does not have its digest."""
    wrong = _WRONG_BLOB.search(str(error))
    if wrong:
        return f"{change.reference}: expected its blob {wrong.group(2)}, found {wrong.group(1)}"
    words = [line for line in str(error).splitlines() if "level=warning" not in line] or [str(error)]
    return f"{change.reference}: expected {change.after}, found a failure: {' '.join(words)}"


Getter = t.Callable[[Image], str]


def apply(ctr: Ctr, changes: t.Sequence[Change], get: Getter, parallel: int, pin: bool) -> None:
    """Bring every image; all failures are raised together, the images that worked stay."""

    def bring(change: Change) -> None:
        image = change.image
        if image is None:
            ctr.unpin(change.reference)
            return
        source = change.source or get(image)
        ctr.name(source, image.reference, image.pinned)
        if pin:
            ctr.pin(image.reference, image.pinned)

    def attempt(change: Change) -> list[str]:
        try:
            bring(change)
        except ImageError as exc:
            return list(exc.problems)
        except CommandError as exc:
            return [explain(change, exc)]
        except OSError as exc:
            return [f"{change.reference}: expected {change.after}, found an error: {exc}"]
        return []

    with concurrent.futures.ThreadPoolExecutor(max_workers=max(1, parallel)) as pool:
        problems = [problem for found in pool.map(attempt, changes) for problem in found]
    if problems:
        raise ImageError(problems)


def verify(images: t.Sequence[Image], stored: t.Mapping[str, Stored], pin: bool) -> None:
    """Judge by what containerd says after the work, not by exit codes."""
    left = plan(images, stored, pin)
    if left:
        raise ImageError(
            [f"{change.reference}: expected {change.after} in containerd, found {change.before}" for change in left]
        )
