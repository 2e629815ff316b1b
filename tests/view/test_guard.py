"""Who may ask: the token, the names, other sites; and what every answer says."""

from __future__ import annotations

import re

import pytest
from starlette.testclient import TestClient

from fedstyle_secure.view import guard
from fedstyle_secure.view.app import view_app
from fedstyle_secure.view.guard import MOST_BYTES, POLICY, Keys
from fedstyle_secure.view.shelf import Shelf

PORT = 8766
PATHS = (
    "/", "/compare", "/compare?a=run&b=begun", "/runs/run", "/runs/run/findings", "/runs/run/findings/0",
    "/runs/run/ledgers", "/runs/run/ledgers/0", "/runs/run/pictures", "/runs/run/pictures/rounds.svg",
    "/runs/run/search", "/runs/run/policy", "/sweeps/sweep", "/static/view.css", "/static/htmx.js",
    "/static/report.css", "/static/icon.svg", "/runs/none", "/none",
)  # fmt: skip


@pytest.fixture
def stranger(home, keys):
    return TestClient(
        view_app(Shelf(home), keys), base_url=f"http://127.0.0.1:{PORT}", follow_redirects=False
    )


@pytest.mark.parametrize("path", PATHS)
def test_without_the_token_nothing_is_told(stranger, page, path):
    refused = stranger.get(path)
    assert refused.status_code == 403
    assert refused.text == "Open this page at the address that `fedstyle view` printed.\n"
    assert page.get(path).status_code == (404 if "none" in path else 200)


def test_the_token_is_exchanged_for_a_cookie_that_is_not_the_token(stranger, keys):
    answer = stranger.get("/", params={"token": keys.token})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
    assert keys.token not in cookie
    assert stranger.get("/").status_code == 200
    other = TestClient(stranger.app, base_url=f"http://localhost:{PORT}")
    assert other.get("/", headers={"cookie": f"{keys.cookie}={keys.token}"}).status_code == 403


def test_tokens_are_long_and_never_the_same():
    one, other = Keys(1), Keys(1)
    assert len({one.token, one.session, other.token, other.session}) == 4
    assert min(len(one.token), len(one.session)) >= 43, "32 bytes"
    assert one.token not in repr(one)
    assert one.session not in repr(one)


@pytest.mark.parametrize("token", ["", "x", "\udcff", "é" * 43])
def test_a_wrong_token_opens_nothing(stranger, keys, token):
    for given in (token, keys.token[:-1], keys.token + "x", keys.session):
        assert stranger.get("/", params={"token": given.encode(errors="replace")}).status_code == 403
        stranger.cookies.set(
            keys.cookie, given.encode("ascii", "replace").decode() if given != keys.session else "x"
        )
        assert stranger.get("/").status_code == 403


def test_tokens_and_cookies_are_compared_in_constant_time(stranger, keys, monkeypatch):
    seen = []

    def compare(one, other):
        seen.append(other)
        return False

    monkeypatch.setattr(guard.secrets, "compare_digest", compare)
    assert stranger.get("/", params={"token": keys.token}).status_code == 403
    stranger.cookies.set(keys.cookie, keys.session)
    assert stranger.get("/").status_code == 403
    assert seen == [keys.token.encode(), keys.session.encode()]


@pytest.mark.parametrize(
    "host",
    ["", "127.0.0.1", "localhost", "127.0.0.1:80", "evil.example", "evil.example:8766", "0.0.0.0:8766",
     "[::1]:8766", "127.0.0.1:8766.evil.example", "localhost:8766@evil.example",
     "127.0.0.1:8766, evil.example"],
)  # fmt: skip
def test_other_names_are_not_answered(page, host):
    assert page.get("/", headers={"host": host}).status_code == 421


def test_both_names_are_answered(page):
    for host in (f"127.0.0.1:{PORT}", f"localhost:{PORT}", f"LOCALHOST:{PORT}"):
        assert page.get("/", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": f"http://127.0.0.1:{PORT + 1}"},
        {"origin": f"https://127.0.0.1:{PORT}"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
        {"origin": f"http://127.0.0.1:{PORT}", "sec-fetch-site": "cross-site"},
        {"origin": "http://evil.example", "sec-fetch-site": "same-origin"},
    ],
)
def test_another_site_posts_nothing(page, headers):
    answer = page.post("/runs/run/search", headers=headers, files={"picture": b"x"})
    assert (answer.status_code, answer.text) == (403, "This request comes from another site.\n")


def test_another_site_embeds_nothing(page):
    for mode in ("cors", "no-cors", "websocket"):
        headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": mode}
        assert page.get("/runs/run/pictures/inversion.png", headers=headers).status_code == 403
    assert page.get("/", headers={"origin": "http://evil.example"}).status_code == 403
    assert page.get("/", headers={"sec-fetch-site": "none", "sec-fetch-mode": "navigate"}).status_code == 200


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "X"])
def test_the_page_is_for_reading(page, method):
    assert page.request(method, "/").status_code == 405


def test_only_a_search_is_posted(page):
    for path in ("/", "/compare", "/runs/run", "/runs/run/findings", "/sweeps/sweep", "/static/view.css"):
        answer = page.post(path, headers={"sec-fetch-site": "same-origin"})
        assert answer.status_code == 405
        assert "reading" in answer.text


def test_a_body_that_is_too_long_is_not_read(page):
    headers = {"sec-fetch-site": "same-origin", "content-type": "multipart/form-data; boundary=x"}
    said = page.post(
        "/runs/run/search", headers=headers | {"content-length": str(MOST_BYTES + 1)}, content=b"x"
    )
    assert said.status_code == 413

    sent = 0

    def endless():
        nonlocal sent
        yield b'--x\r\nContent-Disposition: form-data; name="picture"; filename="a"\r\n\r\n'
        while sent < 4 * MOST_BYTES:
            sent += 2**20
            yield bytes(2**20)

    assert page.post("/runs/run/search", headers=headers, content=endless()).status_code == 413
    for length in ("-1", "1e9", "9" * 20, "٣"):
        headers["content-length"] = length.encode()
        assert page.post("/runs/run/search", headers=headers, content=b"x").status_code == 400


@pytest.mark.parametrize(
    ("path", "how", "status"),
    [("/", {}, 200), ("/none", {}, 404), ("/runs/broken", {}, 422), ("/static/htmx.js", {}, 200),
     ("/", {"host": "evil.example"}, 421), ("/", {"origin": "null"}, 403)],
)  # fmt: skip
def test_every_answer_says_what_browsers_may_do_with_it(page, path, how, status):
    answer = page.get(path, headers=how)
    assert answer.status_code == status
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "same-origin"
    assert answer.headers["x-frame-options"] == "DENY"
    assert ("no-store" in answer.headers["cache-control"]) == ("static" not in path)
    assert "server" not in answer.headers


def test_nothing_inline_and_nothing_from_elsewhere_is_allowed():
    rules = dict(rule.split(" ", 1) for rule in POLICY.split("; "))
    assert rules["default-src"] == rules["frame-ancestors"] == rules["base-uri"] == "'none'"
    assert set(rules.values()) == {"'none'", "'self'"}


@pytest.mark.parametrize("path", [path for path in PATHS if "static" not in path and "svg" not in path])
def test_pages_hold_nothing_inline_and_name_nobody_else(page, path):
    text = page.get(path).text
    assert not re.findall(r"""<[^>]*\s(?:style|on\w+|hx-on[^=]*)\s*=""", text)
    assert not re.findall(r"<style|javascript:|<script(?![^>]* src=)|<iframe|<object|<embed", text)
    for where in re.findall(r"""(?:href|src|action|hx-get|hx-post)="([^"]*)""", text):
        assert where.startswith(("/", "#")), where
        assert not where.startswith("//"), where


def test_what_goes_wrong_inside_is_not_told_to_whoever_asked(page, monkeypatch, capsys):
    def wrong(self):
        raise RuntimeError("a broken thing")

    monkeypatch.setattr(Shelf, "listing", wrong)
    answer = page.get("/")
    assert answer.status_code == 500
    assert "a broken thing" not in answer.text
    assert "Traceback" not in answer.text
    assert answer.headers["content-security-policy"] == POLICY
    assert capsys.readouterr().err == "fedstyle: '/': RuntimeError: a broken thing\n"
