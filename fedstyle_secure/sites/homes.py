"""Homes: the one folder of an artist, an opener or a platform over sites, with its keys and who it knows.

artist      policy.toml, node.key, sum/identity.key, ledger.jsonl, outbox/ ...
opener      node.key, identity.key, keys/, journal.jsonl
platform    server.key and .crt, ca.crt, identity.key, executor.secret, platform.json, link.db, heads/, runs/
all         home.json, card.json, known/ (cards of the others)
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fedstyle_secure.errors import PrivacyError, RunError
from fedstyle_secure.files import PRIVATE, create, private_folder, read_json, write_text
from fedstyle_secure.galleries.names import check_artist
from fedstyle_secure.names import nfc
from fedstyle_secure.secure_sum.identity import Identity
from fedstyle_secure.sites.cards import ROLES, Card, Known, Role
from fedstyle_secure.sites.policy import FILE as POLICY
from fedstyle_secure.sites.policy import Policy, loosened, template
from fedstyle_secure.sites.tls import authority, node_key

_MARK = "home.json"
_CARD = "card.json"
_SETTLED = "policy.settled.toml"


@dataclass(frozen=True)
class Home:
    """A part's own folder.

    Attributes:
        path: Where.
        role: What it is.
        name: An artist's name; "" for the others.
    """

    path: Path
    role: Role
    name: str

    @classmethod
    def open(cls, path: Path, *roles: Role) -> Home:
        """Open a home.

        Args:
            path: The folder.
            roles: What it may be; any, if none is given.

        Raises:
            RunError: There is no home, or it is another part's.
            PrivacyError: Others can write to it.
        """
        if not (path / _MARK).exists():
            raise RunError(f"{path}: no home here; `fedstyle artist init`, `opener init` or `platform init`")
        private_folder(path)
        told = read_json(path / _MARK, dict)
        role, name = told.get("role"), told.get("name")
        if role not in ROLES or not isinstance(name, str):
            raise RunError(f"{path / _MARK}: is damaged")
        if roles and role not in roles:
            raise RunError(f"{path}: is the home of an {role}; valid here: {' or '.join(roles)}")
        return cls(path.resolve(), role, name)

    @property
    def identity(self) -> Identity:
        """Its signing key."""
        folder = self.path / "sum" if self.role == "artist" else self.path
        return Identity.load(folder / "identity.key")

    @property
    def known(self) -> Known:
        """Whom it knows."""
        return Known(self.path)

    @property
    def card(self) -> Card:
        """Its own card, to be sent to the others."""
        return Card.load(self.path / _CARD)

    @property
    def policy(self) -> Policy:
        """An artist's policy. Raises ConfigError where it cannot be read."""
        return Policy.load(self.path / POLICY)

    @property
    def node_key(self) -> Path:
        """Private key of its node."""
        return self.path / "node.key"


def init_artist(path: Path, name: str, pictures: Path) -> Home:
    """Make an artist's home.

    Args:
        path: A new or empty folder.
        name: The artist's name in the federation.
        pictures: A gallery of this artist alone: a folder with a folder of that name in it, or a split.csv.

    Raises:
        RunError: Something is there.
        GalleryError: The name cannot be an artist's.
    """
    name = nfc(name)
    check_artist(name, "--name")
    home = _begun(path, "artist", name)
    policy = template({"portfolio.path": str(pictures.resolve())})
    for file in (POLICY, _SETTLED):
        write_text(home.path / file, policy, mode=PRIVATE)
    return _carded(home, node=_with_node_key(home))


def init_opener(path: Path) -> Home:
    """Make an opener's home. Raises RunError where something is there."""
    home = _begun(path, "opener", "")
    return _carded(home, node=_with_node_key(home))


def init_platform(path: Path, host: str, port: int, pictures: Path, link: str = "") -> Home:
    """Make a platform's home.

    Args:
        path: A new or empty folder.
        host: Name or address that the nodes reach it by.
        port: Port for nodes.
        pictures: Gallery of its public pictures.
        link: HOST:PORT that its SuperLink listens on; empty: that port, for this machine alone.

    Raises:
        RunError: Something is there.
    """
    home = _begun(path, "platform", "")
    ca, certificate, key = authority(host)
    for name, data in (("ca.crt", ca), ("server.crt", certificate), ("server.key", key)):
        create(home.path / name, data)
    create(home.path / "executor.secret", secrets.token_bytes(32))
    told = {"link": link or f"127.0.0.1:{port}", "pictures": str(pictures.resolve())}
    write_text(home.path / "platform.json", json.dumps(told, indent=2) + "\n", mode=PRIVATE)
    return _carded(home, address=f"{host}:{port}", ca=ca.decode())


def platform_facts(home: Home) -> Mapping[str, str]:
    """`link`, where the SuperLink listens, and `pictures` of a platform. Raises RunError where they cannot be
    read."""
    told = read_json(home.path / "platform.json", dict)
    if not all(isinstance(told.get(key), str) for key in ("link", "pictures")) or ":" not in told["link"]:
        raise RunError(f"{home.path / 'platform.json'}: is damaged; valid: link = HOST:PORT, and pictures")
    return told


def loosening(home: Home) -> tuple[str, ...]:
    """Keys of an artist's policy that allow more than was agreed to at the machine."""
    return loosened(Policy.load(home.path / _SETTLED), home.policy)


def require_settled(home: Home) -> None:
    """Check that an artist's policy allows nothing that was not agreed to at the machine.

    A policy may be tightened with an editor. What loosens it counts once `settle` was called.

    Raises:
        PrivacyError: It allows more than before; names the keys.
    """
    more = loosening(home)
    if more:
        raise PrivacyError(
            f"{home.path / POLICY}: allows more than was agreed to, in {', '.join(more)}; "
            f"`fedstyle artist loosen {home.path}` agrees to it"
        )
    settle(home)


def settle(home: Home) -> None:
    """Take an artist's policy as agreed to."""
    write_text(home.path / _SETTLED, home.policy.to_toml(), mode=PRIVATE)


def enrol(home: Home, card: Card, *, replacing: bool = False) -> None:
    """Keep another part's card, once its fingerprint was compared.

    Raises:
        PrivacyError: This part does not need to know that one, or knows another one.
    """
    wanted: dict[Role, tuple[Role, ...]] = {
        "artist": ("platform", "opener"),
        "opener": ("platform", "artist"),
        "platform": ("opener", "artist"),
    }
    if card.role not in wanted[home.role]:
        raise PrivacyError(f"{home.path}: an {home.role} enrols {' and '.join(wanted[home.role])} only")
    home.known.keep(card, replacing=replacing)


def _begun(path: Path, role: Role, name: str) -> Home:
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise RunError(f"{path}: is there already; name a new or empty folder")
    path.mkdir(parents=True, exist_ok=True)
    private_folder(path)
    write_text(path / _MARK, json.dumps({"role": role, "name": name}) + "\n", mode=PRIVATE)
    return Home(path.resolve(), role, name)


def _with_node_key(home: Home) -> str:
    private, public = node_key()
    create(home.node_key, private)
    return public


def _carded(home: Home, node: str = "", address: str = "", ca: str = "") -> Home:
    card = Card(home.role, home.name, home.identity.public, node, address, ca).signed(home.identity)
    card.save(home.path / _CARD)
    return home
