"""The pages that people read, as text: their code blocks, their links, their headings."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [README, *DOCS]
OTHERS = ("CHANGELOG.md", "CONTRIBUTING.md", "HACKING.md", "SECURITY.md", "benchmarks/NOTES.md")
LINKED = [*PAGES, *(ROOT / name for name in OTHERS)]

FENCE = re.compile(r"^```(\w*)\s*$")
HEADING = re.compile(r"^#{1,6} +(.*?) *#*$")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]*)\)")
CODE = re.compile(r"`[^`]*`")


@dataclass(frozen=True)
class Block:
    """A fenced block of code. `line` is the number of its first line in the page, from 1."""

    page: str
    language: str
    line: int
    text: str


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def blocks(text: str, page: str) -> list[Block]:
    """Return the fenced blocks; ValueError where one has no end, or code is only indented."""
    found: list[Block] = []
    language, start, inside = "", 0, None
    previous = ""
    for number, line in enumerate(text.splitlines(), 1):
        fence = FENCE.match(line)
        if inside is None and fence:
            language, start, inside = fence[1], number + 1, []
        elif inside is not None and line == "```":
            found.append(Block(page, language, start, "".join(f"{one}\n" for one in inside)))
            inside = None
        elif inside is not None:
            inside.append(line)
        elif line.startswith("    ") and not previous:
            raise ValueError(f"{page}:{number}: a block of code needs a fence with its language")
        previous = line
    if inside is not None:
        raise ValueError(f"{page}:{start}: the block has no end")
    return found


def _prose(text: str) -> list[str]:
    """The lines that are not code, numbered as before."""
    lines, is_code = [], False
    for line in text.splitlines():
        is_fence = bool(FENCE.match(line))
        lines.append("" if is_code or is_fence or line.startswith("    ") else line)
        is_code ^= is_fence
    return lines


def anchors(text: str) -> set[str]:
    """Return what a link may have after its #: the headings as GitHub names them."""
    names: set[str] = set()
    for line in _prose(text):
        heading = HEADING.match(line)
        if not heading:
            continue
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading[1])
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        numbered = chain([slug], (f"{slug}-{n}" for n in range(1, 1000)))
        names.add(next(one for one in numbered if one not in names))
    return names


def links(text: str) -> list[tuple[int, str]]:
    """Return (number of the line, target) of each link outside of code."""
    lines = enumerate(_prose(text), 1)
    return [(number, found) for number, line in lines for found in LINK.findall(CODE.sub("", line))]


def broken_links(text: str, path: Path) -> list[str]:
    """Return a line of text for each relative link of this page that leads nowhere."""
    wrong = []
    for number, target in links(text):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        inside = there.is_relative_to(ROOT)
        if not (inside and there.exists()):
            wrong.append(f"{path.name}:{number}: {target}: there is no such file")
        elif anchor and anchor not in anchors(
            text if there == path else there.read_text(encoding="utf-8")
        ):
            wrong.append(f"{path.name}:{number}: {target}: there is no such heading")
    return wrong
