"""`federation.toml`: who is in a federation, stated and signed by its platform. Public facts only.

It travels in the bundle of every run and takes the place of a gallery, which no platform over sites can open:
artists learn from it how many they are, and the opener whether it knows all of them.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tomli_w

from fedstyle_secure.errors import FederationError
from fedstyle_secure.secure_sum.encoding import canonical, digest
from fedstyle_secure.secure_sum.identity import Identity, verified
from fedstyle_secure.sites.cards import Card

FILE = "federation.toml"

_DOMAIN = "federation"
_LARGEST = 2**24


@dataclass(frozen=True)
class Roster:
    """A federation.

    Attributes:
        artists: (name, public identity key) of each, by name.
        opener: The opener's public identity key; "" where there is none.
        platform: The platform's.
    """

    artists: tuple[tuple[str, str], ...]
    opener: str
    platform: str

    @classmethod
    def of(cls, artists: Sequence[Card], opener: Card | None, platform: str) -> Roster:
        """Of cards that the platform knows."""
        named = tuple(sorted((card.name, card.identity) for card in artists))
        return cls(named, opener.identity if opener else "", platform)

    @property
    def names(self) -> tuple[str, ...]:
        """The artists' names."""
        return tuple(name for name, _ in self.artists)

    @property
    def digest(self) -> str:
        """SHA-256, 64 hexadecimal digits: what every message of a run is bound to."""
        return digest(_DOMAIN, self._told()).hex()

    def to_toml(self, identity: Identity) -> bytes:
        """As TOML, signed by the platform."""
        return tomli_w.dumps(
            {
                "platform": self.platform,
                "opener": self.opener,
                "artists": dict(self.artists),
                "signature": identity.sign(_DOMAIN, self._told()).hex(),
            }
        ).encode()

    @classmethod
    def read(cls, data: bytes, platform: str) -> Roster:
        """Read one and check that this platform signed it.

        Args:
            data: The file's bytes.
            platform: The public key of the platform that the reader knows.

        Raises:
            FederationError: It is no such file, or another platform's.
        """
        try:
            if len(data) > _LARGEST:
                raise ValueError(f"more than {_LARGEST} bytes")
            values = tomllib.loads(data.decode())
            roster = cls(_pairs(values["artists"]), str(values["opener"]), str(values["platform"]))
            signature = bytes.fromhex(values["signature"])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise FederationError(f"{FILE} of the run cannot be read: {type(error).__name__}") from None
        if roster.platform != platform or not verified(platform, signature, _DOMAIN, roster._told()):
            raise FederationError(f"{FILE} of the run is not signed by the platform that is known here")
        return roster

    def _told(self) -> bytes:
        return canonical([list(map(list, self.artists)), self.opener, self.platform])


def _pairs(values: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    if not all(isinstance(key, str) for key in values.values()):
        raise TypeError("a key is no text")
    return tuple(sorted(values.items()))
