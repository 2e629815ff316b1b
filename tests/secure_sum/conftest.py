"""A small federation without a transport: an opener, artists, and whoever stands between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from fedstyle_secure.secure_sum.aggregator import Aggregator
from fedstyle_secure.secure_sum.artist_side import Member, Pins
from fedstyle_secure.secure_sum.manifest import Groups, Manifest, Quantisation, SignedManifest, Terms
from fedstyle_secure.secure_sum.messages import Request, Upload
from fedstyle_secure.secure_sum.opener import Opener, _bound_to
from fedstyle_secure.secure_sum.scheme import SecretKey
from fedstyle_secure.secure_sum.vault import Vault

RUN = "run"
PASSPHRASE = b"correct horse"


@dataclass
class Attempt:
    """One attempt at a round, as far as it got."""

    world: World
    signed: SignedManifest
    public: bytes
    announcements: dict[str, bytes]
    uploads: dict[str, Upload] = field(default_factory=dict)

    @property
    def manifest(self) -> Manifest:
        return Manifest.from_bytes(self.signed.data)

    @property
    def key_file(self) -> Path:
        return self.world.opener._folder(self.manifest) / "secret.key"

    @property
    def secret(self) -> SecretKey:
        """The opener's own key of this attempt, while it is there."""
        data = Vault(PASSPHRASE).fetch(self.key_file, _bound_to(self.manifest))
        return SecretKey.from_bytes(data, self.manifest.layout.profile)

    def seal(self, values: dict[str, np.ndarray]) -> Attempt:
        for artist, vector in values.items():
            self.uploads[artist] = self.world.members[artist].seal(
                vector, self.signed, self.announcements, self.public
            )
        return self

    def aggregator(self, keep_uploads: bool = True) -> Aggregator:
        return Aggregator(self.signed, self.world.opener.public, self.public, keep_uploads)

    def request(self) -> Request:
        aggregator = self.aggregator()
        for upload in self.uploads.values():
            aggregator.add(upload)
        return aggregator.request()


@dataclass
class World:
    """Opener and artists, each with a folder of its own, in one epoch."""

    root: Path
    terms: Terms
    opener: Opener
    members: dict[str, Member]

    @property
    def artists(self) -> list[str]:
        return list(self.members)

    def restarted_opener(self) -> Opener:
        return Opener(self.root / "opener", PASSPHRASE)

    def attempt(
        self, round: int = 0, attempt: int = 0, cohort: Sequence[str] = (), epoch: int = 0
    ) -> Attempt:
        cohort = list(cohort) or self.artists
        announcements = {a: self.members[a].announce(RUN, epoch, round, attempt) for a in cohort}
        signed, public = self.opener.manifest(RUN, epoch, round, attempt, cohort)
        return Attempt(self, signed, public, announcements)

    def values(self, seed: int = 0) -> dict[str, np.ndarray]:
        """Random vectors over the whole range, every artist in every style."""
        rng = np.random.default_rng(seed)
        half = 1 << (self.terms.quantiser.bits - 1)
        vectors = {a: rng.integers(-half, half, self.terms.values, dtype=np.int64) for a in self.members}
        if self.terms.groups is not None:
            for vector in vectors.values():
                vector[-self.terms.groups.count :] = 1
        return vectors

    def sealed(self, round: int = 0, attempt: int = 0, seed: int = 0) -> Attempt:
        return self.attempt(round, attempt).seal(self.values(seed))


TERMS = Terms(
    values=27,
    k_min=3,
    n_max=12,
    quantiser=Quantisation(bound=1.0, bits=10, kind="float"),
    groups=Groups(count=4, width=5, threshold=3),
)


@pytest.fixture
def make_world(tmp_path: Path) -> Callable[..., World]:
    def make(artists: int = 5, terms: Terms = TERMS, name: str = "world") -> World:
        root = tmp_path / name
        opener = Opener(root / "opener", PASSPHRASE)
        threshold = 0 if terms.groups is None else terms.groups.threshold
        pins = Pins(opener.public, terms.k_min, threshold)
        members = {f"a{i:03d}": Member(root / f"a{i:03d}", f"a{i:03d}", pins) for i in range(artists)}
        for artist, member in members.items():
            opener.enrol(artist, member.public)
        opener.begin(RUN, 0, terms)
        return World(root, terms, opener, members)

    return make


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    return make_world()


@pytest.fixture(scope="session")
def naive(benchmark_module: Callable[[str], ModuleType]) -> ModuleType:
    """The usual recipe as a peer, the attack on it, and its arithmetic, from `benchmarks/naive_ckks.py`."""
    return benchmark_module("naive_ckks")
