# Copyright (c) The bare_metal.kubernetes maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The one image of all lab machines: Debian by mmdebstrap, kept in podman's store under the hash of its recipe."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from bmk_lab.host import apt_proxy_options, debian_mirror, run
from bmk_lab.plan import IMAGE_REPOSITORY, LABEL_LAB

SUITE = "trixie"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
RECIPE = Path(__file__).resolve().parent.parent / "image"
# Documentation and translations are half the files and none of the use.
EXCLUDED = ("/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/info/*")
CONFIGURATION = ('CMD ["/sbin/init"]', "STOPSIGNAL SIGRTMIN+3")


def recipe_hash(recipe: Path = RECIPE) -> str:
    """Over every file of the recipe (path, mode, content) and what this module adds."""
    digest = hashlib.sha256(repr((SUITE, EXCLUDED, CONFIGURATION)).encode())
    for path in sorted(recipe.rglob("*")):
        if path.is_file():
            executable = bool(path.stat().st_mode & 0o100)
            digest.update(repr((str(path.relative_to(recipe)), executable, path.read_bytes())).encode())
    return digest.hexdigest()[:12]


def image_name(recipe: Path = RECIPE) -> str:
    return f"{IMAGE_REPOSITORY}:{recipe_hash(recipe)}"


def packages(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]


def mmdebstrap_argv(mirror: str, proxies: list[str], target: Path, recipe: Path = RECIPE) -> list[str]:
    included = ",".join(packages((recipe / "packages.txt").read_text()))
    return [
        "mmdebstrap",
        "--variant=minbase",
        f"--include={included}",
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in EXCLUDED),
        "--dpkgopt=path-include=/usr/share/doc/*/copyright",
        *proxies,
        f"--customize-hook=copy-in {recipe}/files/etc /",
        f'--customize-hook=chown -R 0:0 "$1"/etc/systemd/system "$1"/etc/ssh/sshd_config.d && sh {recipe}/customize.sh "$1"',
        SUITE,
        str(target),
        *([f"deb [signed-by={KEYRING}] {mirror} {SUITE} main"] if mirror else []),
    ]


def host_mirror() -> str:
    sources = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    texts = [path.read_text() for path in sources if path.is_file() and path.suffix in (".list", ".sources")]
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    return debian_mirror(texts, release.get("VERSION_CODENAME", "").strip('"'))


def build(scratch: Path) -> None:
    """About a minute. An interrupted build leaves only the archive in `scratch`, which the next one overwrites."""
    scratch.mkdir(parents=True, exist_ok=True)
    archive = scratch / f"image-{os.getpid()}.tar"
    for left in scratch.glob("image-*.tar"):
        left.unlink()
    proxies = apt_proxy_options(run(["apt-config", "dump"]).stdout)
    try:
        run(mmdebstrap_argv(host_mirror(), proxies, archive), timeout=1200)
        changes = [option for change in (*CONFIGURATION, f"LABEL {LABEL_LAB}=image") for option in ("--change", change)]
        run(["podman", "import", "--quiet", *changes, str(archive), image_name()], timeout=600)
    finally:
        archive.unlink(missing_ok=True)
