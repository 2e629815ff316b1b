"""`tdmrep.json`: text and data mining reserved for files, as the W3C community's TDM Reservation Protocol
writes it for servers (final report of 10 May 2024, section 5).

    [{"location": "/sketches/*.png", "tdm-reservation": 1, "tdm-policy": "https://example.org/terms.json"}]

A location begins at the file's own folder and means everything that begins with it; `*` stands for anything,
`$` for the end. It reserves and never allows: a policy's terms are no program's to accept.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from fedstyle_secure.consent import beside
from fedstyle_secure.consent.beside import brief
from fedstyle_secure.consent.uses import Said
from fedstyle_secure.errors import GalleryError
from fedstyle_secure.names import nfc

FILE = "tdmrep.json"
WELL_KNOWN = ".well-known"
"""The folder in which servers have it."""

_KEYS = ("location", "tdm-reservation", "tdm-policy")


@dataclass(frozen=True)
class Reservation:
    """A `tdmrep.json`. `reserved` has the locations whose rights are reserved."""

    path: str
    reserved: tuple[str, ...]

    def of(self, names: Iterable[str]) -> dict[str, Said | None]:
        """What it says of each work; None where it reserves nothing.

        Args:
            names: All works that it speaks for: paths from its own folder, with `/`.

        Raises:
            GalleryError: What is reserved is no work's location, so that somebody's no would be lost.
        """
        found: dict[str, Said | None] = dict.fromkeys(names)
        for location in self.reserved:
            meant = [name for name in found if _means(location, name)]
            if not meant:
                raise GalleryError(
                    f"{self.path!r}: location {brief(location)} means no work in its folder; "
                    "valid: one that begins there, with /"
                )
            for name in meant:
                found[name] = Said("reservation", "notAllowed", f"{FILE} reserves text and data mining")
        return found


def read_reservation(folder: Path) -> Reservation | None:
    """The `tdmrep.json` of a folder, or of `.well-known` in it; None where there is none.

    Raises:
        GalleryError: It cannot be read, or holds what it should not; names the file and the place.
    """
    place = folder
    data = beside.read(folder, FILE)
    inner = beside.find(folder, WELL_KNOWN)
    if inner is not None and (folder / inner).is_symlink():
        raise GalleryError(f"{str(folder / inner)!r} is a link; valid: the folder itself")
    if inner is not None and (folder / inner).is_dir():
        second = beside.read(folder / inner, FILE)
        if data is not None and second is not None:
            raise GalleryError(f"{str(folder)!r} has a {FILE} and one in {inner}; valid: one of them")
        if second is not None:
            data, place = second, folder / inner
    if data is None:
        return None
    path = str(place / FILE)
    try:
        rules = json.loads(data.decode("utf-8-sig"), object_pairs_hook=_each_once)
    except (ValueError, RecursionError) as error:
        raise GalleryError(f"{path!r} cannot be read ({error}); valid: JSON in UTF-8") from None
    if not isinstance(rules, list):
        raise GalleryError(f"{path!r} holds no list; valid: a list of locations")
    checked = [_checked(path, number, rule) for number, rule in enumerate(rules)]
    return Reservation(path, tuple(location for location, reserved in checked if reserved))


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is there twice")
    return found


def _checked(path: str, number: int, rule: Any) -> tuple[str, bool]:
    """Location of a rule, and whether it reserves."""
    where = f"{path!r}: rule {number + 1}"
    if not isinstance(rule, dict):
        raise GalleryError(f"{where} is no object; valid: location, tdm-reservation, tdm-policy")
    for key in rule:
        if key not in _KEYS:
            raise GalleryError(f"{where}: unknown key {brief(key)}; valid: {', '.join(_KEYS)}")
    location, value = rule.get("location"), rule.get("tdm-reservation")
    if not isinstance(location, str) or not location.startswith("/"):
        raise GalleryError(f"{where}: location is {brief(location)}; valid: a text that begins with /")
    if isinstance(value, bool) or not isinstance(value, int) or value not in (0, 1):
        raise GalleryError(f"{where}: tdm-reservation is {brief(value)}; valid: 0 or 1")
    if not isinstance(rule.get("tdm-policy", ""), str):
        raise GalleryError(f"{where}: tdm-policy is no text; valid: an address")
    return location, value == 1


def _means(location: str, name: str) -> bool:
    """Whether a location means a work; found piece by piece, so that no pattern takes long."""
    path = nfc("/" + name).casefold()
    pattern = nfc(unquote(location)).casefold()
    ends = pattern.endswith("$")
    first, *others = pattern.removesuffix("$").split("*")
    if not path.startswith(first):
        return False
    if not others:
        return len(path) == len(first) or not ends
    place = len(first)
    for piece in others[:-1] if ends else others:
        place = path.find(piece, place)
        if place < 0:
            return False
        place += len(piece)
    return not ends or (path.endswith(others[-1]) and len(path) - len(others[-1]) >= place)
