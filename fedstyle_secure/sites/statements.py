"""What an artist states at the end of a run: its releases of it, signed. Its other runs stay its own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flwr.app import ConfigRecord, RecordDict

from fedstyle_secure.errors import FederationError, PrivacyError
from fedstyle_secure.privacy.ledger import Entry, Ledger, entry_from_dict
from fedstyle_secure.secure_sum.identity import Identity, verified

_DOMAIN = "statement"
_RECORD = "statement"
_LARGEST = 2**26


@dataclass(frozen=True)
class Statement:
    """An artist's word on a run.

    Attributes:
        artist: Whose.
        run: Identity of the run.
        policy: Digest of the artist's policy.
        withdrawn: Whether it has withdrawn.
        entries: What it released for this run, by its ledger.
    """

    artist: str
    run: str
    policy: str
    withdrawn: bool
    entries: tuple[Entry, ...]

    @classmethod
    def of(cls, artist: str, run: str, policy: str, ledger: Ledger) -> Statement:
        """What a ledger has of a run."""
        entries = tuple(entry for entry in ledger.entries if entry.run == run)
        return cls(artist, run, policy, ledger.withdrawal is not None, entries)

    def to_record(self, identity: Identity) -> RecordDict:
        """Signed by the artist, as a message's content."""
        told: dict[str, Any] = {
            "artist": self.artist, "run": self.run, "policy": self.policy, "withdrawn": self.withdrawn,
            "entries": [entry.to_dict() for entry in self.entries],
        }  # fmt: skip
        text = json.dumps(told, sort_keys=True, allow_nan=False)
        signature = identity.sign(_DOMAIN, text.encode())
        return RecordDict({_RECORD: ConfigRecord({"text": text, "signature": signature})})

    @classmethod
    def from_record(cls, record: RecordDict, keys: Mapping[str, str], run: str) -> Statement:
        """Read a statement and check who signed it.

        Args:
            record: What came.
            keys: Public identity keys of the artists, by name.
            run: Identity of the run that was asked for.

        Raises:
            FederationError: It is damaged, of another run, or not signed by the artist that it names.
        """
        try:
            values = record.config_records[_RECORD]
            text, signature = values["text"], values["signature"]
            if not isinstance(text, str) or not isinstance(signature, bytes) or len(text) > _LARGEST:
                raise ValueError("text")
            told = json.loads(text)
            artist = str(told["artist"])
            entries = tuple(map(entry_from_dict, told["entries"]))
            statement = cls(artist, told["run"], str(told["policy"]), bool(told["withdrawn"]), entries)
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError, PrivacyError) as error:
            raise FederationError(f"a statement cannot be read: {type(error).__name__}") from None
        if statement.run != run or any(entry.run != run for entry in entries):
            raise FederationError(f"artist {artist!r}: the statement is of another run")
        if not verified(keys.get(artist, ""), signature, _DOMAIN, text.encode()):
            raise FederationError(f"artist {artist!r}: the statement is not signed by this artist")
        return statement
