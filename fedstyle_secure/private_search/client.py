"""The buyer's way to a service: it reads a catalogue and an encoder, and sends ciphertexts.

Requests have no header but the host and a length, so that nothing of the buyer's machine is in them.
"""

from __future__ import annotations

import hashlib
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

from fedstyle_secure.errors import SearchError
from fedstyle_secure.private_search.messages import MOST_CATALOGUE_BYTES, Catalogue

_SECONDS = 60
_MOST_SAID = 200


class Changed(SearchError):
    """The catalogue that a query was made for is no more; read it again and ask anew."""


class Client:
    """A service, as a buyer reaches it.

    Args:
        url: `http://HOST:PORT`, or https.

    Raises:
        SearchError: It is no such address.

    Example:
        >>> Client("ftp://example.org")
        Traceback (most recent call last):
        fedstyle_secure.errors.SearchError: 'ftp://example.org' is no address of a search: http://HOST:PORT
    """

    def __init__(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host = None
        if host is None or parts.scheme not in ("http", "https") or parts.path not in ("", "/"):
            raise SearchError(f"{url!r} is no address of a search: http://HOST:PORT")
        self._url, self._host, self._port = url, host, port
        self._kind = HTTPSConnection if url.startswith("https:") else HTTPConnection

    def catalogue(self) -> Catalogue:
        """Whom the service can find, and with which encoder.

        Raises:
            SearchError: It cannot be reached, or says something else.
        """
        return Catalogue.from_bytes(self._asked("GET", "/catalogue", None, MOST_CATALOGUE_BYTES))

    def encoder(self, catalogue: Catalogue) -> bytes:
        """The file that embeds pictures, which has the digest that the catalogue says.

        Raises:
            SearchError: It cannot be had, or is another one.
        """
        data = self._asked("GET", f"/encoder/{catalogue.encoder}", None, catalogue.encoder_bytes)
        if hashlib.sha256(data).hexdigest() != catalogue.encoder:
            raise SearchError(f"{self._url}: sent another encoder than its catalogue names")
        return data

    def answer(self, body: bytes, catalogue: Catalogue) -> bytes:
        """The encrypted scores of an encrypted query.

        Raises:
            Changed: The service has other cards now.
            SearchError: It cannot be reached, or refuses.
        """
        return self._asked("POST", "/search", body, catalogue.answer_bytes)

    def _asked(self, method: str, path: str, body: bytes | None, most: int) -> bytes:
        connection = self._kind(self._host, self._port, timeout=_SECONDS)
        try:
            connection.putrequest(method, path, skip_accept_encoding=True)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            reply = connection.getresponse()
            data = reply.read(most + 1 if reply.status == 200 else _MOST_SAID)
        except (OSError, HTTPException) as error:
            raise SearchError(f"{self._url}: {error or type(error).__name__}") from None
        finally:
            connection.close()
        if reply.status == 409:
            raise Changed(f"{self._url}: has other cards than a moment ago; ask again")
        if reply.status != 200:
            said = data.decode("ascii", "replace")
            raise SearchError(f"{self._url}: answers {reply.status}: {said}")
        if len(data) > most:
            raise SearchError(f"{self._url}: sends more than the {most} bytes that there can be")
        return data
