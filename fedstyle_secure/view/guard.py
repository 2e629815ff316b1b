"""Who may ask, and what every answer says: around the whole application, before anything of it runs.

A page on loopback can be asked by every site that the user's browser visits, and by every user of the
machine. Against the others stands a token; against sites the name by which the page is asked (DNS
rebinding), a cookie that no other site's request carries, and where a request says that it comes from.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.datastructures import URL, Headers, MutableHeaders, QueryParams
from starlette.requests import cookie_parser
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Nothing inline, nothing from elsewhere."""

_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # With "no-referrer" browsers hide from us that a form is our own (Fetch, "append an Origin header").
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}

MOST_BYTES = 32 * 2**20
"""Of a request's body."""


def _secret() -> str:
    return secrets.token_urlsafe(32)


@dataclass(frozen=True)
class Keys:
    """What opens the page.

    Attributes:
        port: That the page is served at.
        token: In the address that the command prints.
        session: In the cookie that the token is exchanged for.
    """

    port: int
    token: str = field(default_factory=_secret, repr=False)
    session: str = field(default_factory=_secret, repr=False)

    @property
    def hosts(self) -> tuple[str, str]:
        """Names by which the page may be asked."""
        return f"127.0.0.1:{self.port}", f"localhost:{self.port}"

    @property
    def cookie(self) -> str:
        """The cookie's name: browsers keep one jar for all ports of a host."""
        return f"fedstyle-view-{self.port}"

    @property
    def address(self) -> str:
        """What a person opens."""
        return f"http://{self.hosts[0]}/?token={self.token}"


class TooLargeError(Exception):
    """A body is longer than `MOST_BYTES`; the application answers it with `too_large`."""


class Guard:
    """Middleware that asks for host, origin and cookie, bounds bodies, and puts headers on every answer.

    Args:
        app: What is guarded.
        keys: What opens it.
    """

    def __init__(self, app: ASGIApp, keys: Keys) -> None:
        self._app, self._keys = app, keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        begun = False

        async def answer(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        refused = self._refusal(scope)
        if refused is not None:
            await refused(scope, receive, answer)
            return
        try:
            await self._app(scope, _bounded(receive), answer)
        except Exception:
            # What went wrong is no business of whoever asked; the application said so already.
            if not begun:
                await _said(500, "This page could not be made.")(scope, receive, answer)

    def _refusal(self, scope: Scope) -> Response | None:
        """What is answered in place of the application; None where it may be asked."""
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or hosts[0].lower() not in self._keys.hosts:
            return _said(421, f"This page answers as {' and '.join(self._keys.hosts)} only.")
        if scope["method"] not in ("GET", "HEAD", "POST"):
            return _said(405, "This page is for reading.", {"Allow": "GET, HEAD, POST"})
        if _from_elsewhere(scope, headers, self._keys):
            return _said(403, "This request comes from another site.")
        if scope["method"] != "POST" and scope["path"] == "/":
            given = QueryParams(scope["query_string"]).get("token")
            if given is not None:
                return self._exchange(given)
        cookies = [cookie_parser(cookie).get(self._keys.cookie, "") for cookie in headers.getlist("cookie")]
        if not any(_same(cookie, self._keys.session) for cookie in cookies):
            return _said(403, "Open this page at the address that `fedstyle view` printed.")
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()) or len(length) > 12:
            return _said(400, "The request does not say its length.")
        return too_large() if int(length) > MOST_BYTES else None

    def _exchange(self, token: str) -> Response:
        if not _same(token, self._keys.token):
            return _said(403, "This is not the address that `fedstyle view` printed.")
        found = RedirectResponse(URL("/"), 303)
        found.set_cookie(self._keys.cookie, self._keys.session, path="/", httponly=True, samesite="strict")
        return found


def _from_elsewhere(scope: Scope, headers: Headers, keys: Keys) -> bool:
    """Whether another site asks. Reading by a link or an address is allowed, and carries no cookie."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    ours = {f"http://{host}" for host in keys.hosts}
    if scope["method"] == "POST":
        known = site is not None or origin is not None
        return not known or site not in (None, "same-origin") or origin not in (None, *ours)
    if origin is not None and origin not in ours:
        return True
    return site not in (None, "same-origin", "none") and headers.get("sec-fetch-mode") != "navigate"


def _same(given: str, wanted: str) -> bool:
    return secrets.compare_digest(given.encode(errors="replace"), wanted.encode())


def _bounded(receive: Receive) -> Receive:
    """A body that says nothing of its length, or lies about it, ends at `MOST_BYTES`."""
    read = 0

    async def some() -> Message:
        nonlocal read
        message = await receive()
        read += len(message.get("body", b""))
        if read > MOST_BYTES:
            raise TooLargeError
        return message

    return some


def too_large() -> Response:
    """The answer to a body that is too long."""
    return _said(413, f"A picture has at most {MOST_BYTES // 2**20} MiB here.")


def _said(status: int, text: str, headers: Mapping[str, str] | None = None) -> Response:
    return PlainTextResponse(text + "\n", status, dict(headers or {}))
