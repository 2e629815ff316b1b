"""What a round is about, written down once and signed by the opener before anybody sends a value.

All artists sign its digest with their upload, so that nobody can be shown another roster, threshold or
key than the others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from fedstyle_secure.errors import SecureSumError
from fedstyle_secure.secure_sum.codes import Code, Refusal
from fedstyle_secure.secure_sum.encoding import (
    canonical,
    digest,
    fields,
    integer,
    items,
    parse,
    parse_real,
    real,
    text,
    unhex,
)
from fedstyle_secure.secure_sum.identity import Identity, verified
from fedstyle_secure.secure_sum.packing import Layout, plan

VERSION = 3
UNBOUND = "0" * 64
"""Context of a sum whose artists were asked nothing in particular."""

_DOMAIN = "manifest"
_MAX_BYTES = 2**20
_MAX_NAME = 200
_MAX_COUNTER = 2**53
_KINDS = ("float", "integer")
_UNITS = ("artwork", "artist")


@dataclass(frozen=True)
class Groups:
    """Where in the vector the groups are, and how many artists a group needs to be shown.

    The vector is: free values, then `count` blocks of `width` values, then one contributor value a group.
    An honest artist's contributor value is 1 where it contributes to the group and 0 where it does not (plus
    noise, where there is any), so that the sum counts artists.

    Attributes:
        count: K groups, at least 1.
        width: Values in a group's block, at least 1.
        threshold: A group whose contributor value in the sum is below this is not shown; at least 1.
    """

    count: int
    width: int
    threshold: int

    def __post_init__(self) -> None:
        for name in ("count", "width", "threshold"):
            _at_least(1, getattr(self, name), f"groups.{name}")

    @property
    def values(self) -> int:
        """Values that belong to groups, contributor values included."""
        return self.count * (self.width + 1)


@dataclass(frozen=True)
class Quantisation:
    """How values became integers. Secure summation itself only uses `bits`; artists use all of it.

    Attributes:
        bound: Largest absolute value before quantising, > 0 and finite.
        bits: b; an artist's integers lie in [-2^(b-1), 2^(b-1) - 1].
        kind: `float`: scaled and rounded at random; `integer`: the values were integers.
    """

    bound: float
    bits: int
    kind: str

    def __post_init__(self) -> None:
        if not (math.isfinite(self.bound) and self.bound > 0):
            raise SecureSumError(f"quantiser.bound must be finite and above 0, not {self.bound}")
        _at_least(2, self.bits, "quantiser.bits")
        if self.kind not in _KINDS:
            raise SecureSumError(f"quantiser.kind must be one of {_KINDS}, not {self.kind!r}")


@dataclass(frozen=True)
class Noise:
    """The noise that artists add, as the opener and all artists agreed to it.

    Attributes:
        unit: `artwork` or `artist`.
        deviation: Standard deviation of one artist's noise per value, in the unit of the values; >= 0.
        n_min: Fewest artists for which the stated guarantee holds; fewer are refused.
        delta: In [0, 1).
    """

    unit: str
    deviation: float
    n_min: int
    delta: float

    def __post_init__(self) -> None:
        if self.unit not in _UNITS:
            raise SecureSumError(f"noise.unit must be one of {_UNITS}, not {self.unit!r}")
        if not (math.isfinite(self.deviation) and self.deviation >= 0):
            raise SecureSumError(f"noise.deviation must be finite and >= 0, not {self.deviation}")
        _at_least(1, self.n_min, "noise.n_min")
        if not 0 <= self.delta < 1:
            raise SecureSumError(f"noise.delta must lie in [0, 1), not {self.delta}")


@dataclass(frozen=True)
class Terms:
    """What stays the same for a whole epoch.

    Attributes:
        values: D, the length of the vector.
        k_min: Fewest artists that are ever summed, at least 2.
        n_max: Most artists; lanes and noise are planned for so many.
        quantiser: How values became integers.
        groups: The groups in the vector; None where there are none (a model update).
        noise: The artists' noise; None where they add none.
    """

    values: int
    k_min: int
    n_max: int
    quantiser: Quantisation
    groups: Groups | None = None
    noise: Noise | None = None

    def __post_init__(self) -> None:
        _at_least(1, self.values, "values")
        _at_least(2, self.k_min, "k_min")
        _at_least(self.k_min, self.n_max, "n_max")
        if self.smallest_cohort > self.n_max:
            raise SecureSumError(f"noise.n_min = {self.smallest_cohort} is more than n_max = {self.n_max}")
        if self.groups is not None and self.groups.values > self.values:
            raise SecureSumError(
                f"values = {self.values} does not hold {self.groups.count} groups of {self.groups.width} "
                f"values and a contributor value each: at least {self.groups.values}"
            )

    @cached_property
    def layout(self) -> Layout:
        """The one layout that the planner has for these terms.

        Raises:
            SecureSumError: Nothing fits.
        """
        return plan(self.values, self.quantiser.bits, self.n_max)

    @property
    def differences_covered(self) -> bool:
        """Whether cohorts may change within an epoch: noise for whole artists is in every sum, so that what
        the difference of two sums shows of one artist is in its epsilon already."""
        return self.noise is not None and self.noise.unit == "artist" and self.noise.deviation > 0

    @property
    def smallest_cohort(self) -> int:
        """Fewest artists that these terms allow."""
        return self.k_min if self.noise is None else max(self.k_min, self.noise.n_min)

    def to_json(self) -> dict[str, object]:
        """As `encoding.canonical` takes it, with the profile that follows from the terms."""
        return {
            "values": self.values,
            "k_min": self.k_min,
            "n_max": self.n_max,
            "profile": self.layout.profile.name,
            "plain_modulus": self.layout.profile.plain_modulus,
            "quantiser": {
                "bound": real(self.quantiser.bound),
                "bits": self.quantiser.bits,
                "kind": self.quantiser.kind,
            },
            "groups": _groups_to_json(self.groups),
            "noise": _noise_to_json(self.noise),
        }

    @classmethod
    def from_json(cls, value: object) -> Terms:
        """The inverse of `to_json`.

        Raises:
            ValueError, SecureSumError: Anything that `to_json` would not have given.
        """
        top = fields(value, _TERMS)
        quantiser = fields(top["quantiser"], ("bound", "bits", "kind"))
        terms = cls(
            values=integer(top["values"]),
            k_min=integer(top["k_min"]),
            n_max=integer(top["n_max"]),
            quantiser=Quantisation(
                parse_real(quantiser["bound"]), integer(quantiser["bits"]), text(quantiser["kind"])
            ),
            groups=_groups_from_json(top["groups"]),
            noise=_noise_from_json(top["noise"]),
        )
        profile = terms.layout.profile
        if top["profile"] != profile.name or integer(top["plain_modulus"]) != profile.plain_modulus:
            raise ValueError(f"profile and plain_modulus must be those of {profile.name} for these terms")
        return terms


@dataclass(frozen=True)
class Manifest:
    """One attempt at one round.

    Attributes:
        run: Names the run, and the vector where a run sums several.
        epoch: From 0; terms stay the same within one.
        round: From 0.
        attempt: From 0; a dropout means another attempt with the survivors.
        fingerprint: Of this attempt's own public key, 64 hexadecimal digits.
        roster: (artist, public identity key) of exactly the artists that are summed, sorted by artist.
        terms: The epoch's terms.
        context: SHA-256 of what every artist was asked under, 64 hexadecimal digits, so that all of one sum
            were asked the same; UNBOUND where there is nothing to bind.
        settings: SHA-256 of the settings that the terms follow from, 64 hexadecimal digits; UNBOUND where
            there are none.
    """

    run: str
    epoch: int
    round: int
    attempt: int
    fingerprint: str
    roster: tuple[tuple[str, str], ...]
    terms: Terms
    context: str = UNBOUND
    settings: str = UNBOUND

    def __post_init__(self) -> None:
        check_name(self.run, "run")
        for name in ("epoch", "round", "attempt"):
            _at_least(0, getattr(self, name), name)
        try:
            unhex(self.fingerprint, 32)
            unhex(self.context, 32)
            unhex(self.settings, 32)
            for artist, key in self.roster:
                check_name(artist, "roster")
                unhex(key, 32)
        except ValueError as error:
            raise SecureSumError(f"manifest: {error}") from None
        artists = [artist for artist, _ in self.roster]
        if not artists:
            raise SecureSumError("manifest: the roster must name an artist")
        if artists != sorted(set(artists)):
            raise SecureSumError("manifest: the roster must be sorted by artist and name each one once")
        if len({key for _, key in self.roster}) != len(artists):
            raise SecureSumError("manifest: two artists of the roster have the same key")

    @property
    def artists(self) -> tuple[str, ...]:
        """The cohort, sorted."""
        return tuple(artist for artist, _ in self.roster)

    @property
    def layout(self) -> Layout:
        """Of the terms."""
        return self.terms.layout

    @cached_property
    def digest(self) -> str:
        """h: what artists sign, 64 hexadecimal digits."""
        return digest(_DOMAIN, self.to_bytes()).hex()

    def key_of(self, artist: str) -> str | None:
        """The public identity key of an artist of the roster."""
        return self._keys.get(artist)

    @cached_property
    def _keys(self) -> dict[str, str]:
        return dict(self.roster)

    def to_bytes(self) -> bytes:
        """Canonical JSON (`encoding.canonical`); floats as `float.hex` strings."""
        value = {
            "version": VERSION,
            "run": self.run,
            "epoch": self.epoch,
            "round": self.round,
            "attempt": self.attempt,
            "fingerprint": self.fingerprint,
            "roster": [list(seat) for seat in self.roster],
            "terms": self.terms.to_json(),
            "context": self.context,
            "settings": self.settings,
        }
        return canonical(value)

    @classmethod
    def from_bytes(cls, data: bytes) -> Manifest:
        """Read a manifest; anything that `to_bytes` would not have written is refused.

        Raises:
            Refusal: MANIFEST; the detail names the key.
        """
        try:
            return _from_json(parse(data, _MAX_BYTES))
        except (SecureSumError, ValueError) as error:
            raise Refusal(Code.MANIFEST, str(error)) from None


@dataclass(frozen=True)
class SignedManifest:
    """A manifest's bytes and the opener's signature over them, as they travel.

    Attributes:
        data: `Manifest.to_bytes()`.
        signature: 64 bytes.
    """

    data: bytes
    signature: bytes

    @property
    def digest(self) -> str:
        """`Manifest.digest`, of bytes that need not be read for it."""
        return digest(_DOMAIN, self.data).hex()

    def read(self, opener: str) -> Manifest:
        """The manifest: length first, then the signature; unsigned bytes are not even parsed.

        Args:
            opener: The pinned public key of the opener.

        Raises:
            Refusal: OPENER_SIGNATURE or MANIFEST.
        """
        if len(self.data) > _MAX_BYTES:
            raise Refusal(Code.MANIFEST, f"more than {_MAX_BYTES} bytes")
        if not verified(opener, self.signature, _DOMAIN, self.data):
            raise Refusal(Code.OPENER_SIGNATURE)
        return Manifest.from_bytes(self.data)


def sign_manifest(manifest: Manifest, opener: Identity) -> SignedManifest:
    """Sign as the opener."""
    data = manifest.to_bytes()
    return SignedManifest(data, opener.sign(_DOMAIN, data))


def check_name(name: str, key: str) -> None:
    """Refuse what is no name: empty, longer than 200 characters, or with control characters.

    Raises:
        SecureSumError: Names the key.
    """
    if not 0 < len(name) <= _MAX_NAME or not name.isprintable():
        raise SecureSumError(f"{key}: a name must have 1 to {_MAX_NAME} printable characters")


def _at_least(least: int, value: int, key: str) -> None:
    if type(value) is not int or not least <= value < _MAX_COUNTER:
        raise SecureSumError(f"{key} must be an integer of at least {least}, not {value!r}")


def _groups_to_json(groups: Groups | None) -> object:
    if groups is None:
        return "none"
    return {"count": groups.count, "width": groups.width, "threshold": groups.threshold}


def _noise_to_json(noise: Noise | None) -> object:
    if noise is None:
        return "none"
    return {
        "unit": noise.unit,
        "deviation": real(noise.deviation),
        "n_min": noise.n_min,
        "delta": real(noise.delta),
    }


_TOP = (
    "version",
    "run",
    "epoch",
    "round",
    "attempt",
    "fingerprint",
    "roster",
    "terms",
    "context",
    "settings",
)
_TERMS = ("values", "k_min", "n_max", "profile", "plain_modulus", "quantiser", "groups", "noise")


def _from_json(value: object) -> Manifest:
    top = fields(value, _TOP)
    if integer(top["version"]) != VERSION:
        raise ValueError(f"version must be {VERSION}")
    return Manifest(
        run=text(top["run"]),
        epoch=integer(top["epoch"]),
        round=integer(top["round"]),
        attempt=integer(top["attempt"]),
        fingerprint=text(top["fingerprint"]),
        roster=_roster_from_json(top["roster"]),
        terms=Terms.from_json(top["terms"]),
        context=text(top["context"]),
        settings=text(top["settings"]),
    )


def _roster_from_json(value: object) -> tuple[tuple[str, str], ...]:
    seats = [items(seat, 2) for seat in items(value)]
    return tuple((text(artist), text(key)) for artist, key in seats)


def _groups_from_json(value: object) -> Groups | None:
    if value == "none":
        return None
    item = fields(value, ("count", "width", "threshold"))
    return Groups(integer(item["count"]), integer(item["width"]), integer(item["threshold"]))


def _noise_from_json(value: object) -> Noise | None:
    if value == "none":
        return None
    item = fields(value, ("unit", "deviation", "n_min", "delta"))
    return Noise(
        text(item["unit"]),
        parse_real(item["deviation"]),
        integer(item["n_min"]),
        parse_real(item["delta"]),
    )


def roster(keys: Mapping[str, str], cohort: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """The roster of a cohort, sorted.

    Args:
        keys: Public identity key of every enrolled artist.
        cohort: Artists, each once.

    Raises:
        Refusal: STRANGER or DUPLICATE, naming the artist.
    """
    for artist in cohort:
        if artist not in keys:
            raise Refusal(Code.STRANGER, artist=artist)
        if cohort.count(artist) > 1:
            raise Refusal(Code.DUPLICATE, artist=artist)
    return tuple((artist, keys[artist]) for artist in sorted(cohort))
