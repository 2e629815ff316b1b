"""What the site takes from the code and from other pages, so that each is written in one place.

A line `<!-- NAME -->` of a page is replaced by what `PARTS[NAME]` gives. Nothing here is part of the package.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from griffe import Extension

REPO = Path(__file__).parents[1]
_MARK = re.compile(r"^<!-- (\w+) -->$", re.MULTILINE)


def glossary() -> str:
    """The words of the reports' own glossaries, in alphabetical order."""
    from fedstyle_secure.report.page.words import GLOSSARY, LEVEL_WORDS, MEANINGS, SHORT, SWEEP_WORDS

    words = sorted({**GLOSSARY, **SWEEP_WORDS}.values(), key=lambda word: word[0].lower())
    terms = "\n\n".join(f"### {name}\n\n{meaning}" for name, meaning in words)
    verdicts = "\n".join(f"| {SHORT[sign]} | {MEANINGS[sign]} |" for sign in MEANINGS)
    levels = "\n".join(f"| {level} | {text} |" for level, text in LEVEL_WORDS.items())
    return (
        f"## Words\n\n{terms}\n\n## Verdicts\n\n| verdict | what it says |\n|---|---|\n{verdicts}\n\n"
        f"## Levels\n\n| level | what an attack learns |\n|---|---|\n{levels}\n"
    )


def presets() -> str:
    """Each file of `configs/` with the comment that it begins with."""
    rows = []
    for path in sorted((REPO / "configs").glob("*.toml")):
        said: list[str] = []
        for line in path.read_text(encoding="utf-8").splitlines():
            if not line.startswith("#"):
                break
            said.append(line.lstrip("# "))
        rows.append(f"| `{path.name}` | {' '.join(said)} |")
    return "| file | what it is |\n|---|---|\n" + "\n".join(rows)


def pitfalls() -> str:
    """Every pitfall of the decisions, under the decision that it belongs to."""
    out, section = [], ""
    text = (REPO / "docs/decisions.md").read_text(encoding="utf-8")
    for block in re.split(r"\n{2,}", text):
        if block.startswith("### "):
            section = block.splitlines()[0][4:].strip()
        elif block.startswith("> **Pitfall: "):
            said = " ".join(line.lstrip("> ") for line in block.splitlines())
            name, _, rest = said.removeprefix("**Pitfall: ").partition("**")
            anchor = _slug(section)
            out.append(f"## {name.rstrip('.')}\n\n{rest.strip()}\n\nWhy: [{section}](decisions.md#{anchor})")
    return "\n\n".join(out)


def settings() -> str:
    """Every setting of the three systems."""
    from fedstyle_secure.config import Config

    parts = []
    for system in ("style", "text", "art"):
        rows = [
            f"| `{one['key']}` | `{one['default']}` | {_cell(one['allowed'])} | {_cell(one['help'])} |"
            for one in Config.of_system(system).describe()
        ]
        head = "| setting | default | allowed | what it does |\n|---|---|---|---|\n"
        parts.append(f"## {system}\n\n{head}" + "\n".join(rows))
    return "\n\n".join(parts)


def _cell(text: object) -> str:
    return str(text).replace("|", "\\|").replace("<", "&lt;")


def _slug(title: str) -> str:
    from markdown.extensions.toc import slugify

    return slugify(re.sub(r"[`*]", "", title), "-")


_FROM_A_NETWORK = re.compile(r"<script[^>]*>(?:(?!</script>).)*cdnjs.*?</script>", re.DOTALL)


def on_post_page(output: str, **_: Any) -> str:
    """Takes out the script of notebooks that would fetch what draws their diagrams; there are none."""
    return _FROM_A_NETWORK.sub("", output)


PARTS = {"glossary": glossary, "presets": presets, "pitfalls": pitfalls, "settings": settings}


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by mkdocs for each page."""
    return _MARK.sub(lambda found: PARTS[found[1]]() if found[1] in PARTS else found[0], markdown)


class Examples(Extension):
    """Docstrings here write `Example:`; the reader of docstrings knows `Examples:` as a section."""

    def on_instance(self, *, obj: Any, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = obj.docstring.value.replace("\nExample:\n", "\nExamples:\n")
