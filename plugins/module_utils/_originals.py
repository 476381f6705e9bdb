# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of the operating system that ours take the place of: kept when they are replaced, given back by reset."""

from __future__ import annotations

import os
import shutil

#: a file that carries these words is ours
MARK = "Written by bare_metal.kubernetes"
DIRECTORY = "originals"


def is_marked(content: bytes) -> bool:
    """Whether a file with this content is ours."""
    return MARK.encode() in content


def _place(path: str, state_dir: str) -> str:
    return os.path.join(state_dir, DIRECTORY, path.lstrip("/"))


def _copy(source: str, target: str) -> None:
    """With rights, owner and times; whole or not at all. A link is copied as a link."""
    part = f"{target}.part"
    if os.path.lexists(part):
        os.unlink(part)
    shutil.copy2(source, part, follow_symlinks=False)
    found = os.lstat(source)
    os.chown(part, found.st_uid, found.st_gid, follow_symlinks=False)
    os.replace(part, target)


def keep(path: str, state_dir: str) -> None:
    """Keep a file that is about to be replaced. What was kept first stays: later ones are no originals."""
    target = _place(path, state_dir)
    if not os.path.lexists(target):
        os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
        _copy(path, target)


def kept(state_dir: str) -> list[str]:
    """Where the kept files belong."""
    root = os.path.join(state_dir, DIRECTORY)
    return sorted(
        os.path.join("/", os.path.relpath(os.path.join(directory, name), root))
        for directory, _directories, names in os.walk(root)
        for name in names
        if not name.endswith(".part")
    )


def restore(path: str, state_dir: str) -> None:
    """Put a kept file back where it was, and forget it."""
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    _copy(_place(path, state_dir), path)
    os.unlink(_place(path, state_dir))
