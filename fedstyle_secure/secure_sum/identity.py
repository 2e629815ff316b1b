"""Who somebody is: an Ed25519 key, whose private part never leaves its owner's folder."""

from __future__ import annotations

import hmac
import re
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from fedstyle_secure.errors import SecureSumError
from fedstyle_secure.files import create, private_folder, read_secret
from fedstyle_secure.secure_sum.encoding import digest

SIGNATURE_BYTES = 64
_FILE = re.compile(rb"[0-9a-f]{64}\n")


class Identity:
    """An artist's or the opener's signing key.

    Attributes:
        public: Its public part, 32 bytes as lower-case hexadecimal digits. Others enrol or pin this.
    """

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.public = private.public_key().public_bytes_raw().hex()

    @classmethod
    def load(cls, path: Path) -> Identity:
        """The identity kept in `path`, made from the operating system's entropy if it is not there.

        Two processes that start at once end with the same key.

        Raises:
            SecureSumError: The file is damaged.
            PrivacyError: Others can read it, or write to its folder.
        """
        private_folder(path.parent)
        if not path.exists():
            create(path, Ed25519PrivateKey.generate().private_bytes_raw().hex().encode() + b"\n")
        data = read_secret(path)
        if _FILE.fullmatch(data) is None:
            raise SecureSumError(f"{path}: not an identity key; restore it, or enrol a new one")
        return cls(Ed25519PrivateKey.from_private_bytes(bytes.fromhex(data.decode())))

    def sign(self, domain: str, *parts: bytes) -> bytes:
        """64 bytes: Ed25519 over `digest(domain, *parts)`, so that a signature for one purpose is none for
        another."""
        return self._private.sign(digest(domain, *parts))

    def __repr__(self) -> str:
        return f"Identity({self.public})"


def verified(public: str, signature: bytes, domain: str, *parts: bytes) -> bool:
    """Whether `signature` is one of the key `public` over these parts in this domain. Never raises."""
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))
        key.verify(signature, digest(domain, *parts))
    except (InvalidSignature, ValueError):
        return False
    return True


def same(first: str, second: str) -> bool:
    """Whether two hexadecimal strings are equal, in a time that does not tell where they differ."""
    return hmac.compare_digest(first.encode(), second.encode())
