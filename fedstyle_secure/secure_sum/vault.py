"""The opener's secret keys on disk: 0600, encrypted under a passphrase or key file."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from fedstyle_secure.errors import SecureSumError
from fedstyle_secure.files import create, read_secret

_MAGIC = b"fssk1"
_SALT, _NONCE = 16, 12
_COST = 15
"""scrypt's n is 2 to this (RFC 7914, with r = 8, p = 1): 32 MiB a guess."""


class Vault:
    """Secrets on disk that one passphrase opens: scrypt, then ChaCha20-Poly1305 (RFC 8439).

    scrypt takes a tenth of a second, so a vault writes all of its files under one salt, each under a nonce of
    its own.
    """

    def __init__(self, passphrase: bytes) -> None:
        """
        Args:
            passphrase: Or the content of a key file.
        """
        self._passphrase = passphrase
        self._salt = os.urandom(_SALT)
        self._ciphers: dict[bytes, ChaCha20Poly1305] = {}

    def keep(self, path: Path, secret: bytes, bound_to: bytes) -> None:
        """Write a secret.

        Args:
            path: A file that is not there yet.
            secret: The bytes.
            bound_to: What the secret is for; it opens for nothing else.

        Raises:
            SecureSumError: The file is there already, or the passphrase is empty.
        """
        if not self._passphrase:
            raise SecureSumError("the opener needs a passphrase or key file that is not empty")
        nonce = os.urandom(_NONCE)
        header = _MAGIC + self._salt + nonce
        sealed = self._cipher(self._salt).encrypt(nonce, secret, header + bound_to)
        if not create(path, header + sealed):
            raise SecureSumError(f"{path}: there is a secret key already")

    def fetch(self, path: Path, bound_to: bytes) -> bytes:
        """Read what `keep` wrote, in this process or another.

        Raises:
            SecureSumError: The passphrase is another, or the file is damaged or for something else.
            PrivacyError: Others can read it.
            FileNotFoundError: It is not there.
        """
        data = read_secret(path)
        start = len(_MAGIC) + _SALT + _NONCE
        header, sealed = data[:start], data[start:]
        salt, nonce = header[len(_MAGIC) : len(_MAGIC) + _SALT], header[len(_MAGIC) + _SALT :]
        try:
            if len(header) != start or not header.startswith(_MAGIC):
                raise InvalidTag
            return self._cipher(salt).decrypt(nonce, sealed, header + bound_to)
        except InvalidTag:
            raise SecureSumError(
                f"{path}: the passphrase does not open this key, or the file is damaged"
            ) from None

    def _cipher(self, salt: bytes) -> ChaCha20Poly1305:
        if salt not in self._ciphers:
            key = Scrypt(salt=salt, length=32, n=2**_COST, r=8, p=1).derive(self._passphrase)
            self._ciphers[salt] = ChaCha20Poly1305(key)
        return self._ciphers[salt]
