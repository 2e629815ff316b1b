"""Requests that mean harm, ten thousand where there is time: none fails inside, reads outside, or writes."""

from __future__ import annotations

import os
import random
import sys
from importlib import import_module
from pathlib import Path
from urllib.parse import quote

import pytest

import fedstyle_secure
from fedstyle_secure.view.app import view_app
from fedstyle_secure.view.guard import POLICY
from fedstyle_secure.view.shelf import Shelf, whole

SECRET = b"what no page may tell"

_opened: list[tuple[str, int]] | None = None


def _hook(event: str, values: tuple) -> None:
    if event == "open" and _opened is not None and isinstance(values[0], str | bytes):
        _opened.append((os.fsdecode(values[0]), values[2]))


@pytest.fixture
def files():
    """Begins to list every file that Python opens, with the flags it is opened with."""
    global _opened
    if not hasattr(sys, "_fedstyle_view_hook"):
        sys.addaudithook(_hook)  # A hook cannot be taken away again; it records nothing outside this test.
        sys._fedstyle_view_hook = True

    def begin():
        global _opened
        _opened = []
        return _opened

    yield begin
    _opened = None


BITS = (
    "..", ".", "%2e%2e", "..%2f", "%2f", "//", "\\", "%5c", "%00", "%0a", "%0d%0aSet-Cookie:x=1", "~", ":",
    "sweep:",
    "run", "begun", "broken", "linked", "way-out", "studios", "sweep", "runs", "sweeps", "static", "findings",
    "ledgers", "pictures", "search", "policy", "compare", "0", "1", "-1", "99999999999999999999", "1e9",
    "%D9%A3",
    "inversion.png", "rounds.svg", "rounds.json", "audit.json", "summary.json", "config.toml",
    ".fedstyle-run",
    "htmx.js", "view.css", "app.py", "<script>", "%3Cscript%3E", "{{7*7}}", "${7*7}", "%ff%fe", "%ed%a0%80",
    "%E2%80%AE", "a" * 300, "etc", "passwd", "secret.json", "outside", "proc", "self", "environ", "file:",
    "http:",
)  # fmt: skip
KEYS = ("view", "verdict", "attack", "target", "at", "a", "b", "token", "x", "%00", "")
PATHS = ("/", "/runs/run", "/runs/run/findings", "/runs/run/findings/3", "/runs/run/ledgers",
         "/runs/run/ledgers/1",
         "/runs/run/pictures", "/runs/run/pictures/rounds.svg", "/runs/run/search", "/compare", "/runs/begun",
         "/runs/broken", "/runs/linked", "/sweeps/sweep", "/static/view.css")  # fmt: skip


class Hostile:
    """Requests by chance, from a fixed seed."""

    def __init__(self, keys, make, seed: int) -> None:
        self._chance, self._keys, self._make = random.Random(seed), keys, make

    def request(self):
        chance = self._chance
        headers = [(b"host", self._keys.hosts[0].encode())]
        if chance.random() < 0.85:
            headers.append((b"cookie", f"{self._keys.cookie}={self._keys.session}".encode()))
        for _ in range(chance.choice((0, 0, 1, 3))):
            headers.append((self._name(), self._junk(60)))
        if chance.random() < 0.05:
            headers[0] = (b"host", self._junk(30))
        posted = chance.random() < 0.15
        method = (
            "POST"
            if posted
            else chance.choice(("GET", "GET", "GET", "GET", "HEAD", "PUT", "OPTIONS", "\0", "get"))
        )
        path, body = self._path(), (b"",)
        if posted:
            path = b"/runs/run/search" if chance.random() < 0.5 else path
            headers += [(b"sec-fetch-site", b"same-origin"), (b"content-type", self._type())]
            body = tuple(self._body() for _ in range(chance.choice((1, 2, 5))))
        return self._make(method, path, self._query(), tuple(headers), body)

    def _path(self) -> bytes:
        chance = self._chance
        if chance.random() < 0.35:
            return chance.choice(PATHS).encode()
        bits = [chance.choice(BITS) for _ in range(chance.randint(1, 6))]
        return ("/" + "/".join(bits)).encode("ascii", "replace")

    def _query(self) -> bytes:
        chance = self._chance
        if chance.random() < 0.4:
            return b""
        pairs = [
            f"{chance.choice(KEYS)}={chance.choice((chance.choice(BITS), quote(self._junk(20))))}"
            for _ in range(chance.randint(1, 4))
        ]
        return "&".join(pairs).encode() + (self._junk(8) if chance.random() < 0.2 else b"")

    def _name(self) -> bytes:
        return self._chance.choice(
            (b"hx-request", b"hx-target", b"origin", b"sec-fetch-site", b"sec-fetch-mode", b"cookie",
             b"range",
             b"content-length", b"content-type", b"transfer-encoding", b"x-forwarded-host", b"if-none-match",
             b"if-modified-since", b"accept", b"x-http-method-override", b"host")
        )  # fmt: skip

    def _type(self) -> bytes:
        return self._chance.choice(
            (b"multipart/form-data; boundary=x", b"multipart/form-data", b"multipart/form-data; boundary=",
             b"multipart/form-data; boundary=x; charset=none", b"application/json", b"", self._junk(20),
             b"application/x-www-form-urlencoded", b"multipart/form-data; boundary=" + b"y" * 200)
        )  # fmt: skip

    def _body(self) -> bytes:
        chance = self._chance
        parts = (
            b"--x\r\n", b"--x--\r\n", b"\r\n\r\n",
            b'Content-Disposition: form-data; name="picture"; filename="a"',
            b'Content-Disposition: form-data; name="picture"', b"Content-Disposition: form-data",
            b"\x89PNG\r\n\x1a\n",
            b"\xff\xd8\xff", b"II*\0", b"RIFF\0\0\0\0WEBP", self._junk(50), b"\r\n", b"a" * 2000,
        )  # fmt: skip
        return b"".join(chance.choice(parts) for _ in range(chance.randint(0, 8)))

    def _junk(self, most: int) -> bytes:
        return self._chance.randbytes(self._chance.randint(0, most))


@pytest.mark.long
@pytest.mark.parametrize("number", [1000, pytest.param(10_000, marks=pytest.mark.slow)])
def test_ten_thousand_hostile_requests(home, keys, ask_all, asked_of, files, number):
    kept = [place for place in home.iterdir() if place.is_dir() and not place.is_symlink()]
    before = {place.name: whole(place) for place in kept if place.name != "linked"}
    app = view_app(Shelf(home), keys)
    # What loads libraries, and what they look for, is no request's doing.
    import_module("fedstyle_secure.systems.style.search")

    known = ((b"host", keys.hosts[0].encode()), (b"cookie", f"{keys.cookie}={keys.session}".encode()))
    (warm,) = ask_all(app, [asked_of("GET", b"/runs/run/ledgers", b"", known)])
    assert warm.status == 200
    opened = files()
    hostile = Hostile(keys, asked_of, seed=20)
    requests = [hostile.request() for _ in range(number)]
    statuses: dict[int, int] = {}
    for asked, answer in zip(requests, ask_all(app, requests), strict=True):
        statuses[answer.status] = statuses.get(answer.status, 0) + 1
        assert answer.status in (200, 206, 303, 400, 403, 404, 405, 413, 416, 421, 422), (
            asked,
            answer.status,
        )
        assert SECRET not in answer.body, asked
        assert b"Traceback" not in answer.body, asked
        assert b"<script>" not in answer.body, asked
        assert answer.headers["x-content-type-options"] == "nosniff", asked
        policy = answer.headers["content-security-policy"]
        assert policy == POLICY or policy.startswith("default-src 'none'; style-src"), asked
        assert ("set-cookie" in answer.headers) == (answer.status == 303), asked
    assert statuses[200] > number / 25, "many come through the guard and are answered"
    assert min(statuses.get(status, 0) for status in (400, 403, 404, 405, 421, 422)) > number / 100, statuses

    program = [
        Path(p).resolve() for p in (sys.prefix, sys.base_prefix, Path(fedstyle_secure.__file__).parent.parent)
    ]
    read = {
        (Path(name).resolve() if os.path.isabs(name) else Path.cwd() / name, flags) for name, flags in opened
    }
    inside = {path for path, _ in read if path.is_relative_to(home)}
    assert {"summary.json", "findings.json", "config.toml"} <= {path.name for path in inside}
    others = {
        path for path, _ in read if path not in inside and not any(path.is_relative_to(p) for p in program)
    }
    assert others <= {Path("/dev/null")}, others
    writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
    assert not {path for path, flags in read if path in inside and flags & writing}
    assert before == {name: whole(home / name) for name in before}
