"""`fedstyle doctor`: whether a home can do its work, before it has to."""

from __future__ import annotations

import shutil
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from importlib.metadata import version

import httpx

from fedstyle_secure.errors import FedStyleError
from fedstyle_secure.files import read_secret
from fedstyle_secure.privacy.ledger import Ledger
from fedstyle_secure.sites.homes import Home, platform_facts
from fedstyle_secure.sites.superlink import address
from fedstyle_secure.sites.tls import raw_public
from fedstyle_secure.version import __version__

_CLOCK_S = 5.0
"""How far clocks may differ: Flower refuses a node's signature that is older, or of the future."""

_ROOM = 2**28


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: What.
        well: Whether it is as it should be.
        said: What was found, and what to do where it is not well.
    """

    name: str
    well: bool
    said: str


def examined(home: Home) -> Iterator[Check]:
    """Look at everything that a home needs, one thing after the other.

    Args:
        home: Of any part.
    """
    yield Check("versions", True, f"fedstyle-secure {__version__}, flwr {version('flwr')}")
    yield _tried("keys", lambda: _keys(home))
    yield _tried("disk", lambda: _disk(home))
    yield _tried("enrolled", lambda: _enrolled(home))
    if home.role == "artist":
        yield _tried("policy", lambda: f"policy.toml is valid, {home.policy.digest()[:8]}")
        yield _tried("ledger", lambda: _ledger(home))
    if home.role == "platform":
        yield _tried("pictures", lambda: _pictures(home))
    yield _tried("SuperLink", lambda: _link(home))


def _tried(name: str, look: Callable[[], str]) -> Check:
    try:
        return Check(name, True, look())
    except (FedStyleError, OSError, ValueError, httpx.HTTPError) as error:
        return Check(name, False, f"{type(error).__name__}: {error}")


def _keys(home: Home) -> str:
    if home.card.identity != home.identity.public:
        raise ValueError(f"{home.path / 'card.json'} is not of the identity key that lies here")
    if home.role != "platform":
        read_secret(home.node_key)
        raw_public(home.card.node_key)
    return f"its own alone; fingerprint {home.card.fingerprint}"


def _disk(home: Home) -> str:
    probe = home.path / ".doctor"
    probe.write_bytes(b"")
    probe.unlink()
    left = shutil.disk_usage(home.path).free
    if left < _ROOM:
        raise ValueError(f"{home.path}: {left // 2**20} MiB are free; make room for {_ROOM // 2**20}")
    return f"can be written, {left // 2**30} GiB free"


def _enrolled(home: Home) -> str:
    known = home.known
    if home.role != "platform":
        known.require("platform")
    if home.role != "opener":
        known.require("opener")
    artists = len(known.artists()) if home.role != "artist" else None
    if artists == 0:
        raise ValueError(f"no artist is enrolled; `fedstyle {home.role} enrol {home.path} CARD...`")
    return "whom it needs to know" + (f", {artists} artists" if artists else "")


def _ledger(home: Home) -> str:
    ledger = Ledger(home.path / "ledger.jsonl")
    gone = f"; withdrawn at {ledger.withdrawal.at}" if ledger.withdrawal else ""
    return f"whole, {len(ledger.entries)} releases{gone}"


def _pictures(home: Home) -> str:
    place = platform_facts(home)["pictures"]
    folders = sum(1 for one in home.path.joinpath(place).iterdir() if one.is_dir())
    return f"{folders} folders of public pictures in {place}"


def _link(home: Home) -> str:
    """Reach the SuperLink, with the certificate that is known here, and compare clocks."""
    platform = home.card if home.role == "platform" else home.known.require("platform")
    context = ssl.create_default_context(cadata=platform.ca)
    where = address(home) if home.role == "platform" else platform.address
    host, _, port = where.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as plain:
        context.wrap_socket(plain, server_hostname=host).close()
    answer = httpx.get(f"https://{where}/health", verify=context, timeout=10)
    told = answer.headers.get("date")
    if told is None:
        return f"answers on {where}; does not tell its time"
    apart = time.time() - parsedate_to_datetime(told).timestamp()
    if abs(apart) > _CLOCK_S:
        raise ValueError(f"this clock is {apart:+.0f} s off that of {where}; set it (NTP)")
    return f"answers on {where}, clocks within {_CLOCK_S:g} s"
