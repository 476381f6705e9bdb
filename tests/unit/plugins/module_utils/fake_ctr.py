# A program: its users put a line with their interpreter in the place of this one.
"""Acts as containerd's ctr for tests: `images check|ls|pull|import|tag|label` on a JSON file beside this program.

`pull` reads hosts.toml as containerd does and gets manifest and blobs over HTTP, `import` reads the archive from its standard input.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
import tarfile
import tomllib
import urllib.request
from pathlib import Path

STATE = Path(sys.argv[0]).with_name("containerd.json")


def load() -> dict:
    return json.loads(STATE.read_text()) if STATE.exists() else {"images": {}, "labels": {}, "log": []}


def refuse(text: str) -> None:
    print("level=warning msg=noise", file=sys.stderr)
    sys.exit(f"ctr: {text}")


def checked(digest: str, data: bytes) -> bytes:
    found = f"sha256:{hashlib.sha256(data).hexdigest()}"
    if found != digest:
        refuse(
            f'failed commit on ref "layer": unexpected commit digest {found}, expected {digest}: failed precondition'
        )
    return data


def needed(manifest: bytes) -> list[str]:
    document = json.loads(manifest)
    return [entry["digest"] for entry in (document["config"], *document["layers"])]


def pull(state: dict, hosts: str, reference: str) -> None:
    name, digest = reference.split("@")
    host, path = name.split("/", 1)
    toml = tomllib.loads((Path(hosts) / host / "hosts.toml").read_text())
    assert toml["override_path"] is True and "host" not in toml and set(toml["capabilities"]) == {"pull", "resolve"}
    base = f"{toml['server']}/{path}"

    def get(kind: str, wanted: str) -> bytes:
        with urllib.request.urlopen(f"{base}/{kind}/{wanted}") as response:
            return checked(wanted, response.read())

    for blob in needed(get("manifests", digest)):
        get("blobs", blob)
    state["images"][reference] = digest


def load_archive(state: dict) -> None:
    content = {}
    with tarfile.open(fileobj=io.BytesIO(sys.stdin.buffer.read())) as archive:
        for member in archive:
            content[member.name] = archive.extractfile(member).read()
    assert json.loads(content["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    (entry,) = json.loads(content["index.json"])["manifests"]
    manifest = checked(entry["digest"], content[f"blobs/sha256/{entry['digest'][7:]}"])
    assert entry["size"] == len(manifest)
    for digest in needed(manifest):
        checked(digest, content[f"blobs/sha256/{digest[7:]}"])
    state["images"][entry["annotations"]["io.containerd.image.name"]] = entry["digest"]


def main() -> None:
    state = load()
    flag, address, flag2, namespace, images, verb, *words = sys.argv[1:]
    assert (flag, flag2, namespace, images) == ("--address", "--namespace", "k8s.io", "images"), sys.argv
    state["log"].append([verb, *words])
    if verb == "check":
        if address.endswith("nothing.sock"):
            refuse("failed to dial: no such file")
        print("REF\tTYPE\tDIGEST\tSTATUS\tSIZE\tUNPACKED")
        for reference, digest in state["images"].items():
            print(f"{reference}\tapplication/x {digest} complete (2/2) 1.0 KiB/1.0 KiB true")
        state["log"].pop()
    elif verb == "ls":
        print("\n".join(name for name, label in state["labels"].items() if label == "io.cri-containerd.pinned=pinned"))
        state["log"].pop()
    elif verb == "pull":
        pull(state, words[1], words[2])
    elif verb == "import":
        load_archive(state)
    elif verb == "tag":
        state["images"].update({target: state["images"][words[0]] for target in words[1:]})
    elif verb == "label":
        assert words[0] in state["images"]
        state["labels"][words[0]] = words[1]
    STATE.write_text(json.dumps(state))


main()
