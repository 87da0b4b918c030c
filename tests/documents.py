"""The documents as data: their code blocks and tables."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [
    "README.md",
    *sorted(
        str(path.relative_to(ROOT))
        for path in (ROOT / "docs").rglob("*.md")
        if "_build" not in path.parts
    ),
]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(name: str, language: str) -> list[str]:
    """The fenced code blocks of ``language`` in a document, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", read(name), re.DOTALL | re.MULTILINE)


def links(name: str) -> list[str]:
    """The targets of a document's links and pictures, code left out."""
    text = re.sub(r"^```.*?^```$", "", read(name), flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"(?<=\]\()[^)\s]+(?=\))|(?<=<)https?:[^>\s]+(?=>)", text)


def headings(path: Path) -> list[str]:
    """The anchors of a document's headings, as forges make them."""
    text = re.sub(r"^```.*?^```$", "", path.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    told = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return [re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in told]


def table(name: str, first_header: str) -> list[list[str]]:
    """The rows of the tables in a document whose first column has this header."""
    rows, inside = [], False
    for line in read(name).splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        if not line.startswith("|"):
            inside = False
        elif cells[0] == first_header:
            inside = True
        elif inside and not line.startswith("| ---"):
            rows.append(cells)
    return rows
