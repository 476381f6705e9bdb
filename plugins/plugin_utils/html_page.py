# Copyright: (c) 2026, the bare_metal.kubernetes maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What HTML reports share: one file without scripts that asks for nothing, light or dark as the reader's system is, for screens from 390 pixels on.

Pure. Everything that comes from an inventory or a host goes through :func:`text`, whatever it says. Narrow screens show a row of a table as a block
with its headings beside the values; long names go on in the next line after a dot, slash or underscore. ``tests/integration/test_pages.py`` looks at
the reports in a browser, as a reader does.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from typing import Any

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
STYLE = """
:root { color-scheme: light dark; --back: #fff; --text: #1a1f27; --dim: #596270; --line: #d5dae1; --panel: #f5f7f9;
  --free: #dde3ea; --bad: #b3261e; --good: #2c7a4b; }
@media (prefers-color-scheme: dark) {
  :root { --back: #14181d; --text: #e4e8ed; --dim: #9aa5b1; --line: #333b45; --panel: #1c2229;
    --free: #2f3944; --bad: #ff8a80; --good: #5fbf83; } }
* { box-sizing: border-box; }
body { background: var(--back); color: var(--text); font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 78rem; padding: 1.5rem; }
h1 { font-size: 1.5rem; line-height: 1.25; margin-top: 0; } h2 { font-size: 1.15rem; margin-top: 2rem; }
h1, h2, p, li, summary, figcaption { overflow-wrap: anywhere; }
.dim { color: var(--dim); }
.bad { color: var(--bad); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; width: 100%; }
th, td { border-bottom: 1px solid var(--line); padding: .3rem 1rem .3rem 0; text-align: left; vertical-align: top; }
th { font-weight: 600; vertical-align: bottom; }
th.number, td.number { font-variant-numeric: tabular-nums; text-align: right; white-space: nowrap; }
details { background: var(--panel); border: 1px solid var(--line); border-radius: 6px; margin: .6rem 0; padding: .4rem .8rem; }
summary { cursor: pointer; }
ul { padding-left: 1.3rem; }
svg { display: block; }
figure { margin: 0; }
@media (max-width: 50rem) {
  body { padding: 1rem; }
  thead { display: none; }
  table, tbody, tr { display: block; }
  tr { border-bottom: 1px solid var(--line); padding: .5rem 0; }
  td, td.number { border: 0; display: grid; gap: .6rem; grid-template-columns: 7.5rem minmax(0, 1fr); overflow-wrap: anywhere; padding: .1rem 0;
    text-align: left; white-space: normal; }
  td::before { color: var(--dim); content: attr(data-head); }
  td.empty { display: none; }
}
"""
BREAKS = re.compile(r"(?<=\w[./_=:@,])(?=[^\W\d])")


# A number and its unit stay together, and so do a sign of comparison and what follows.
UNITS = re.compile(r"(?<=\d) (?=(?:[num]?s|%|[KMGT]i?B|CPUs?)(?!\w))|(?<=&gt;) ")


def text(value: Any) -> str:
    """A value as HTML text, for elements and quoted attributes alike; control characters and odd directions become ``?``."""
    plain = "".join(character if character.isprintable() else "?" for character in str(value))
    return html.escape(plain, quote=True)


def breakable(value: Any) -> str:
    """A value as HTML text for elements, with places where a long name may go on in the next line."""
    return _together("<wbr>".join(text(part) for part in BREAKS.split(str(value))))


def _together(words: str) -> str:
    return UNITS.sub("&nbsp;", words)


def class_of(*names: str) -> str:
    """The attribute ``class`` with a space before it; nothing for no names."""
    words = " ".join(name for name in names if name)
    return f' class="{text(words)}"' if words else ""


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _cell(head: str, value: Any) -> str:
    words = f"{value:,}" if _is_number(value) else str(value)
    kind = class_of("number" if _is_number(value) else "", "" if words else "empty")
    # One element inside, so that on a narrow screen the cell has two columns: its heading and this.
    return f'<td data-head="{text(head)}"{kind}><span>{breakable(words)}</span></td>'


def table(heads: Sequence[str], rows: Iterable[Sequence[Any]], kinds: Sequence[str] = ()) -> str:
    """A table; numbers are set to the right. ``kinds``: a class for each row, for those that shall stand out."""
    listed = [tuple(row) for row in rows]
    right = [bool(listed) and all(_is_number(row[index]) for row in listed) for index in range(len(heads))]
    head = "".join(
        f"<th{class_of('number' if number else '')}>{_together(text(one))}</th>"
        for one, number in zip(heads, right, strict=True)
    )
    body = "".join(
        f"<tr{class_of(*kinds[index : index + 1])}>{''.join(map(_cell, heads, row))}</tr>"
        for index, row in enumerate(listed)
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def details(summary: str, content: str) -> str:
    """Content that is folded away under a line; ``content`` is HTML."""
    return f"<details><summary>{text(summary)}</summary>{content}</details>"


def items(lines: Iterable[str], kind: str = "") -> str:
    """A list of texts."""
    found = "".join(f"<li{class_of(kind)}>{text(line)}</li>" for line in lines)
    return f"<ul>{found}</ul>" if found else '<p class="dim">None.</p>'


def section(head: str, content: str) -> str:
    """A part of a page; ``content`` is HTML."""
    return f"<section><h2>{text(head)}</h2>{content}</section>"


def document(title: str, body: str, style: str = "") -> str:
    """The whole page. ``body`` is HTML, ``style`` what this page has beside the shared style."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(title)}</title><style>{STYLE}{style}</style></head>"
        f"<body><h1>{text(title)}</h1>{body}</body></html>\n"
    )
