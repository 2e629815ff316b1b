"""Cards: the public facts of one part of a federation, signed by it, for the others to keep.

A card travels by any way but over the platform. It proves nothing of who sent it: both sides read its
fingerprint to each other, over a telephone say, before they keep it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from fedstyle_secure.errors import GalleryError, PrivacyError
from fedstyle_secure.files import PRIVATE, private_folder, write_text
from fedstyle_secure.galleries.names import check_artist
from fedstyle_secure.names import nfc
from fedstyle_secure.runs import folder_name
from fedstyle_secure.secure_sum.encoding import canonical, digest
from fedstyle_secure.secure_sum.identity import Identity, verified

Role = Literal["artist", "opener", "platform"]
ROLES: tuple[Role, ...] = ("artist", "opener", "platform")

_DOMAIN = "card"
_LARGEST = 2**16
_GROUPS = 8


@dataclass(frozen=True)
class Card:
    """One part of a federation.

    Attributes:
        role: What it is.
        name: An artist's name; "" for the others.
        identity: Its public identity key, 64 hexadecimal digits.
        node_key: Of its node, as an OpenSSH line; "" for a platform.
        address: Where a platform is reached, HOST:PORT; "" for the others.
        ca: A platform's certificate authority, PEM; "" for the others.
        signature: Of all that, by its identity key, hexadecimal.
    """

    role: Role
    name: str
    identity: str
    node_key: str = ""
    address: str = ""
    ca: str = ""
    signature: str = ""

    @property
    def fingerprint(self) -> str:
        """What people compare: 8 groups of 4 hexadecimal digits."""
        digits = digest("fingerprint", self._told()).hex()
        return " ".join(digits[4 * i : 4 * i + 4] for i in range(_GROUPS))

    @property
    def title(self) -> str:
        """Who it is, in words."""
        return f"artist {self.name!r}" if self.role == "artist" else self.role

    def signed(self, identity: Identity) -> Card:
        """With a signature of its owner."""
        return replace(self, signature=identity.sign(_DOMAIN, self._told()).hex())

    def save(self, path: Path, mode: int | None = None) -> None:
        """Write it as JSON."""
        write_text(path, json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n", mode=mode)

    @classmethod
    def load(cls, path: Path) -> Card:
        """Read a card and check that its owner signed it.

        Raises:
            PrivacyError: It is missing, no card, or was changed.
        """
        try:
            data = path.read_bytes()
            if len(data) > _LARGEST:
                raise ValueError(f"more than {_LARGEST} bytes")
            values = json.loads(data)
            if not all(isinstance(value, str) for value in values.values()):
                raise ValueError("a value is no text")
            card = cls(**values)
            if card.role not in ROLES or bool(card.name) != (card.role == "artist"):
                raise ValueError(f"role {card.role!r:.20} with the name {card.name!r:.40}")
            if card.role == "artist":
                check_artist(card.name, "name")
            if card.name != nfc(card.name):
                raise ValueError(f"the name {card.name!a:.80} is in another coding than NFC")
        except (OSError, ValueError, TypeError, AttributeError, RecursionError, GalleryError) as error:
            raise PrivacyError(f"{path}: is no card: {error}") from None
        try:
            signature = bytes.fromhex(card.signature)
        except ValueError:
            signature = b""
        if not verified(card.identity, signature, _DOMAIN, card._told()):
            raise PrivacyError(f"{path}: was changed since its owner signed it; ask for it again")
        return card

    def _told(self) -> bytes:
        values = asdict(self)
        del values["signature"]
        return canonical(values)


class Known:
    """Cards that a home keeps: whom it knows."""

    def __init__(self, home: Path) -> None:
        """Args: home: The part's own folder."""
        self._folder = home / "known"

    def keep(self, card: Card, *, replacing: bool = False) -> None:
        """Keep a card whose fingerprint was compared.

        Raises:
            PrivacyError: Another one of the same part is there, and it is not to be replaced.
        """
        there = self.card(card.role, card.name)
        if there is not None and there != card and not replacing:
            raise PrivacyError(
                f"{self._path(card.role, card.name)}: another card of the {card.title} is known already, "
                f"{there.fingerprint}; if it made itself new keys, enrol it with --replace"
            )
        path = self._path(card.role, card.name)
        private_folder(self._folder)
        private_folder(path.parent)
        card.save(path, PRIVATE)

    def card(self, role: Role, name: str = "") -> Card | None:
        """The card that is kept of a part; None: nobody enrolled it.

        Raises:
            PrivacyError: It is damaged, or another part's that was put in its place.
        """
        path = self._path(role, name)
        return self._load(path) if path.exists() else None

    def require(self, role: Role) -> Card:
        """The card of the opener or the platform. Raises PrivacyError where nobody enrolled it."""
        found = self.card(role)
        if found is None:
            raise PrivacyError(f"{self._folder}: knows no {role}; enrol its card first")
        return found

    def key_file(self, role: Role) -> Path:
        """A file with the public identity key of the opener or the platform, as its card has it now; none is
        there where nobody enrolled it."""
        path, card = self._path(role, "").with_suffix(".pub"), self.card(role)
        if card is not None:
            write_text(path, card.identity, mode=PRIVATE)
        return path

    def artists(self) -> tuple[Card, ...]:
        """The cards of all artists, by name."""
        found = [self._load(path) for path in (self._folder / "artists").glob("*.json")]
        return tuple(sorted(found, key=lambda card: card.name))

    def _load(self, path: Path) -> Card:
        card = Card.load(path)
        if self._path(card.role, card.name) != path:
            raise PrivacyError(f"{path}: is the card of the {card.title}, put in another one's place")
        return card

    def _path(self, role: Role, name: str) -> Path:
        return self._folder / (f"artists/{folder_name(name)}.json" if role == "artist" else f"{role}.json")
