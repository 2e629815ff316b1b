"""How long an artist's ledger was, signed by the artist, for others to keep.

Whoever restores a backup, or puts an older file in a ledger's place, has spent more than the ledger says; the
files alone cannot tell. So platform and opener keep the last head that each artist signed, and give it back
when they meet. An artist whose ledger does not go on from it declines. Neither keeper can make a head up;
both together can hold one back.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from flwr.app import ConfigRecord, RecordDict

from fedstyle_secure.errors import PrivacyError
from fedstyle_secure.files import PRIVATE, locked, private_folder, write_bytes
from fedstyle_secure.privacy.ledger import Ledger
from fedstyle_secure.runs import folder_name
from fedstyle_secure.secure_sum.encoding import canonical, fields, integer, parse, text, unhex
from fedstyle_secure.secure_sum.identity import SIGNATURE_BYTES, Identity, verified

_RECORD = "head"
_DOMAIN = "ledger head"
_LONGEST = 4096
_FIELDS = ("artist", "lines", "chain", "at")

Found = Literal["holds", "older", "other"]


@dataclass(frozen=True)
class Head:
    """How far an artist's ledger went.

    Attributes:
        artist: Whose.
        lines: Its lines, releases of a request or a withdrawal each.
        chain: What stands for all of them, 64 hexadecimal digits.
        at: When it was signed, UTC, ISO 8601 to the second.
    """

    artist: str
    lines: int
    chain: str
    at: str

    def body(self) -> bytes:
        """What is signed."""
        return canonical({name: getattr(self, name) for name in _FIELDS})


@dataclass(frozen=True)
class SignedHead:
    """A head with its artist's signature.

    Attributes:
        head: What is signed.
        signature: Ed25519, 64 bytes.
    """

    head: Head
    signature: bytes

    def to_bytes(self) -> bytes:
        """For a message or a file."""
        told = {"head": self.head.body().decode("ascii"), "signature": self.signature.hex()}
        return canonical(told)

    @classmethod
    def from_bytes(cls, data: bytes, public: str) -> SignedHead:
        """Read and check what was kept or sent.

        Args:
            data: As `to_bytes` gives it.
            public: The artist's public identity key.

        Raises:
            PrivacyError: It is no head, or its signature is not the artist's.
        """
        try:
            told = fields(parse(data, _LONGEST), ("head", "signature"))
            body, signature = text(told["head"]).encode("ascii"), unhex(told["signature"], SIGNATURE_BYTES)
            values = fields(parse(body, _LONGEST), _FIELDS)
            head = Head(
                text(values["artist"]),
                integer(values["lines"]),
                unhex(values["chain"], 32).hex(),
                text(values["at"]),
            )
        except ValueError as error:
            raise PrivacyError(f"no signed head of a ledger: {error}") from None
        if head.lines < 0 or not verified(public, signature, _DOMAIN, body):
            raise PrivacyError(f"artist {head.artist!r}: its signature does not fit the head of its ledger")
        return cls(head, signature)


def sign(identity: Identity, artist: str, ledger: Ledger, at: str) -> SignedHead:
    """The head of a ledger as it is now.

    Args:
        identity: The artist's own key.
        artist: Whose.
        ledger: The artist's.
        at: When, UTC, ISO 8601 to the second.
    """
    head = Head(artist, len(ledger.heads) - 1, ledger.heads[-1], at)
    return SignedHead(head, identity.sign(_DOMAIN, head.body()))


def check(head: Head, ledger: Ledger) -> Found:
    """What a ledger is beside a head that was signed before.

    Returns:
        `holds`: it is the same one, or goes on from there. `older`: lines are missing that were there once.
        `other`: lines were there once that are other ones now.
    """
    if head.lines >= len(ledger.heads):
        return "older"
    return "holds" if ledger.heads[head.lines] == head.chain else "other"


def require(heads: Iterable[SignedHead], artist: str, ledger: Ledger) -> None:
    """Check, before an artist answers, that its ledger goes on from every head that others kept.

    Args:
        heads: As keepers gave them back, checked by `SignedHead.from_bytes` against the artist's own key.
        artist: Whose ledger it is.
        ledger: The artist's.

    Raises:
        PrivacyError: It does not; says what to do.
    """
    for signed in heads:
        head = signed.head
        if head.artist != artist:
            raise PrivacyError(f"a head of artist {head.artist!r} was given back to {artist!r}")
        found = check(head, ledger)
        if found != "holds":
            here = len(ledger.heads) - 1
            how = f"has {here} lines" if found == "older" else "has other lines"
            raise PrivacyError(
                f"{ledger.path}: {how}, and the one of {head.at} had {head.lines}: an older or another "
                "ledger lies here, which knows less than was spent; put the right one in its place"
            )


def put(record: RecordDict, signed: SignedHead) -> None:
    """Put a head into a message's content."""
    record[_RECORD] = ConfigRecord({_RECORD: signed.to_bytes()})


def taken(record: RecordDict) -> bytes | None:
    """Take the head out of a message's content; None: there is none."""
    found = record.pop(_RECORD, None)
    data = found.get(_RECORD) if isinstance(found, ConfigRecord) else None
    return data if isinstance(data, bytes) else None


class Keeper:
    """The heads that a platform or an opener keeps, the newest of each artist."""

    def __init__(self, folder: Path) -> None:
        """Args: folder: The keeper's own."""
        self._folder = folder

    def kept(self, artist: str, public: str) -> SignedHead | None:
        """The newest head of an artist; None where there is none.

        Args:
            artist: Whose.
            public: Its public identity key.

        Raises:
            PrivacyError: What is kept is damaged, or was signed by another key.
        """
        try:
            data = self._file(artist).read_bytes()
        except FileNotFoundError:
            return None
        found = SignedHead.from_bytes(data, public)
        if found.head.artist != artist:
            raise PrivacyError(f"{self._file(artist)}: holds the head of another artist")
        return found

    def keep(self, data: bytes, artist: str, public: str) -> SignedHead:
        """Keep a head that an artist sent.

        Args:
            data: As it came.
            artist: Who sent it.
            public: Its public identity key.

        Returns:
            The head that is kept from now on.

        Raises:
            PrivacyError: It is none of this artist's, or it goes back behind one that was kept.
        """
        new = SignedHead.from_bytes(data, public)
        if new.head.artist != artist:
            raise PrivacyError(f"artist {artist!r} sent the head of {new.head.artist!r}")
        with locked(private_folder(self._folder)):
            old = self.kept(artist, public)
            if old is not None:
                back = new.head.lines < old.head.lines
                forked = new.head.lines == old.head.lines and new.head.chain != old.head.chain
                if back or forked:
                    raise PrivacyError(
                        f"artist {artist!r}: its ledger had {old.head.lines} lines at {old.head.at}, and has "
                        f"{'fewer' if back else 'other ones'} now"
                    )
                if new.head.lines == old.head.lines:
                    return old
            write_bytes(self._file(artist), new.to_bytes(), mode=PRIVATE)
        return new

    def _file(self, artist: str) -> Path:
        return self._folder / f"{folder_name(artist)}.json"
