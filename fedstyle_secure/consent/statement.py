"""`consent.toml`: what an artist allows, as a rule and work by work.

    [default]
    cawg.ai_training.use = "allowed"
    cawg.ai_generative_training.use = "allowed"

    [works."sketches/*"]
    cawg.ai_generative_training.use = "notAllowed"

What is not said is not allowed. A name without `/` means files of that name in any folder, one with it a
path from the file's own folder; `*` stands for anything, `/` among it. Case makes no difference, but a name
that is exactly a file's means that file alone. Of several that mean the same work the strictest counts.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any

from fedstyle_secure.consent import beside
from fedstyle_secure.consent.beside import brief
from fedstyle_secure.consent.uses import PURPOSES, USES, Purpose, Said, Use, of_purpose, read_use
from fedstyle_secure.errors import GalleryError
from fedstyle_secure.hints import did_you_mean
from fedstyle_secure.names import nfc
from fedstyle_secure.visible import controls

FILE = "consent.toml"

Uses = Mapping[Purpose, Use]

_SECTIONS = ("default", "works")
_KEYS = ("use", "constraint_info")
_VALID_USE = f"valid: use = {', '.join(map(repr, USES))}"


@dataclass(frozen=True)
class Statement:
    """A `consent.toml`.

    Attributes:
        path: The file, for messages.
        default: What is allowed of works that nothing else is said of.
        works: Names and patterns, in normalisation form C, with what is said of the works that they mean.
    """

    path: str
    default: Uses
    works: tuple[tuple[str, Uses], ...] = ()

    def of(self, names: Iterable[str], purpose: Purpose) -> dict[str, Said | None]:
        """What it says of each work; None where it says nothing of the purpose.

        Args:
            names: All works that it speaks for: paths from its own folder, with `/`.
            purpose: Which use.

        Raises:
            GalleryError: A name or pattern means no work.
        """
        by_name = {name: nfc(name) for name in names}
        uses: dict[str, list[Uses]] = {name: [] for name in by_name}
        exact = set(by_name.values())
        for pattern, said in self.works:
            meant = [name for name, written in by_name.items() if _means(pattern, written, exact)]
            if not meant:
                raise GalleryError(
                    f"{self.path!r}: works.{brief(pattern)} means no work in its folder; mend the "
                    "name, or take it out"
                )
            for name in meant:
                uses[name].append(said)
        return {name: self._said(given, purpose) for name, given in uses.items()}

    def _said(self, given: list[Uses], purpose: Purpose) -> Said | None:
        own = [found for one in given if (found := of_purpose(one, purpose)) is not None]
        # Those that refuse come first.
        own.sort(key=lambda found: found[1] == "allowed")
        found = own[0] if own else of_purpose(self.default, purpose)
        if found is None:
            return None
        return Said("consent.toml", found[1], f"{FILE} says cawg.{found[0]} = {found[1]!r}")


def read_statement(folder: Path) -> Statement | None:
    """The `consent.toml` of a folder; None where there is none.

    Raises:
        GalleryError: It cannot be read, or holds what it should not; names the file and the key.
    """
    data = beside.read(folder, FILE)
    if data is None:
        return None
    path = str(folder / FILE)
    try:
        found = tomllib.loads(data.decode("utf-8-sig"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise GalleryError(f"{path!r} cannot be read ({error}); valid: TOML in UTF-8") from None
    _known(path, "", found, _SECTIONS)
    default = _uses(path, "default", found.get("default", {}))
    works = found.get("works", {})
    if not isinstance(works, dict):
        raise GalleryError(f'{path!r}: works is no table; valid: [works."NAME"]')
    named: dict[str, Uses] = {}
    for raw, said in works.items():
        pattern = _checked(path, raw)
        if pattern in named:
            raise GalleryError(f"{path!r}: works.{brief(pattern)} is there in two codings; valid: once")
        named[pattern] = _uses(path, f"works.{brief(pattern)}", said)
    return Statement(path, default, tuple(named.items()))


def _means(pattern: str, name: str, exact: set[str]) -> bool:
    if pattern in exact:
        return pattern == name
    asked, there = pattern.casefold(), name.casefold()
    if "/" not in pattern:
        there = there.rpartition("/")[2]
    return asked == there or fnmatchcase(there, asked)


def _checked(path: str, raw: str) -> str:
    """A name or a pattern in normalisation form C, which stays in the folder."""
    pattern = nfc(raw)
    parts = PurePosixPath(pattern).parts
    wrong = not parts or parts[0] == "/" or {".", ".."} & set(pattern.split("/")) or "\\" in pattern
    if wrong or controls(pattern):
        raise GalleryError(
            f"{path!r}: works.{brief(raw)} is no name below the folder; valid: with / and without .. and "
            "control characters"
        )
    return pattern


def _uses(path: str, where: str, table: Any) -> Uses:
    """What a section says, by purpose."""
    entries = _entries(path, where, table)
    uses: dict[Purpose, Use] = {}
    for purpose, entry in entries.items():
        key = f"{where}.cawg.{purpose}"
        if not isinstance(entry, dict):
            raise GalleryError(f"{path!r}: {key} is {brief(entry)}; valid: a table, as {key}.use = 'allowed'")
        _known(path, key, entry, _KEYS)
        use = read_use(entry)
        if use is None:
            raise GalleryError(f"{path!r}: {key}.use is {brief(entry.get('use'))}; {_VALID_USE}")
        if not isinstance(entry.get("constraint_info", ""), str):
            raise GalleryError(f"{path!r}: {key}.constraint_info is no text; valid: an address or words")
        uses[purpose] = use
    return uses


def _entries(path: str, where: str, table: Any) -> dict[Purpose, Any]:
    """Entries by purpose, whether written `cawg.ai_training` or `"cawg.ai_training"`."""
    if not isinstance(table, dict):
        raise GalleryError(f"{path!r}: {where} is {brief(table)}; valid: a table of cawg entries")
    found: list[tuple[str, Any]] = []
    for key, value in table.items():
        if key == "cawg" and isinstance(value, dict):
            found += [(f"cawg.{inner}", entry) for inner, entry in value.items()]
        else:
            found.append((key, value))
    valid = {f"cawg.{purpose}": purpose for purpose in PURPOSES}
    entries: dict[Purpose, Any] = {}
    for key, value in found:
        if key not in valid:
            raise GalleryError(f"{path!r}: unknown key {brief(f'{where}.{key}')}{did_you_mean(key, valid)}")
        if valid[key] in entries:
            raise GalleryError(f"{path!r}: {where}.{key} is there twice; valid: once")
        entries[valid[key]] = value
    return entries


def _known(path: str, where: str, table: Mapping[str, Any], valid: tuple[str, ...]) -> None:
    for key in table:
        if key not in valid:
            full = f"{where}.{key}" if where else key
            raise GalleryError(f"{path!r}: unknown key {brief(full)}{did_you_mean(key, valid)}")
