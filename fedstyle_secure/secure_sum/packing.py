"""Several small integers in one slot: mixed-radix lanes that a sum over all artists cannot overflow.

BatchCrypt (Zhang et al. 2020) gives each value a lane of whole bits; a mixed radix of exactly
artists * (2^bits - 1) + 1 fits more lanes into the same slot.

The lanes leave ten bits of every slot free. Whoever adds a multiple of the secret key to a ciphertext moves
each slot that it touches by a number that is uniform mod t and that it does not know: one such slot by
itself is found with probability 1 - 2^-10 or more, all 4096 of a block always.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedstyle_secure.errors import SecureSumError
from fedstyle_secure.secure_sum.profiles import MOST_ARTISTS, PROFILES, Profile
from fedstyle_secure.secure_sum.wire import body_bytes

MAX_BITS = 50
MAX_VALUES = 1 << 28

REDUNDANT_BITS = 10
"""Of every slot; at most one of 2^10 residues mod t is what a sum can make of a slot."""


@dataclass(frozen=True)
class Layout:
    """Where each value of a vector lies; made by `plan`, which proves that it holds.

    Attributes:
        values: D, length of every artist's vector.
        bits: b, each value lies in [-2^(b-1), 2^(b-1) - 1].
        artists: n, the most artists whose vectors may be summed.
        profile: The scheme's parameters.
    """

    values: int
    bits: int
    artists: int
    profile: Profile

    @property
    def radix(self) -> int:
        """One more than the largest sum of one lane, n (2^b - 1) + 1."""
        return self.artists * ((1 << self.bits) - 1) + 1

    @property
    def lanes(self) -> int:
        """Values in one slot: the largest L with radix^L <= t / 2^10."""
        lanes = 0
        while self.radix ** (lanes + 1) <= _capacity(self.profile):
            lanes += 1
        return lanes

    @property
    def used_slots(self) -> int:
        """Slots that hold values; the others hold zero."""
        return -(-self.values // self.lanes)

    @property
    def blocks(self) -> int:
        """Ciphertexts of one upload."""
        return -(-self.used_slots // self.profile.degree)

    @property
    def slots(self) -> int:
        """Slots of one upload, blocks * degree."""
        return self.blocks * self.profile.degree

    @property
    def upload_bytes(self) -> int:
        """Exact length of every artist's encrypted upload, whatever its values."""
        return body_bytes(self.profile, self.blocks)


def plan(values: int, bits: int, artists: int) -> Layout:
    """The layout of fewest bytes for which lanes, redundancy and noise hold; the first where two are equal.

    Args:
        values: Length of every artist's vector, 1..2^28.
        bits: Bits of a signed value, 2..50.
        artists: The most artists in one sum, at least 1.

    Raises:
        SecureSumError: Nothing fits; says what would.
    """
    if not 1 <= values <= MAX_VALUES:
        raise SecureSumError(f"values must be between 1 and {MAX_VALUES}, not {values}")
    if not 2 <= bits <= MAX_BITS:
        raise SecureSumError(f"bits must be between 2 and {MAX_BITS}, not {bits}")
    if not 1 <= artists <= MOST_ARTISTS:
        raise SecureSumError(
            f"artists must be between 1 and {MOST_ARTISTS}, not {artists}: the noise of a larger sum could "
            "make it decrypt wrongly"
        )
    layouts = [
        layout
        for profile in PROFILES.values()
        if (layout := Layout(values, bits, artists, profile)).lanes
        and profile.budget(artists) >= profile.budget_floor
    ]
    if not layouts:
        most = max(_capacity(profile) for profile in PROFILES.values())
        raise SecureSumError(
            f"a sum of {artists} artists at {bits} bits does not fit the {most.bit_length()} bits that a "
            f"slot has for values: at most {((most - 1) // artists + 1).bit_length() - 1} bits for "
            f"{artists} artists, or at most {(most - 1) // ((1 << bits) - 1)} artists at {bits} bits"
        )
    return min(layouts, key=lambda layout: layout.upload_bytes)


def _capacity(profile: Profile) -> int:
    """How many residues of a slot a sum may make; the others are there to be found."""
    return profile.plain_modulus >> REDUNDANT_BITS


def pack(values: np.ndarray, layout: Layout) -> np.ndarray:
    """Put one artist's vector into slots.

    Lane j of slot i holds value j * used_slots + i, offset by 2^(b-1) so that nothing is negative.

    Args:
        values: Integers, shape (layout.values,), each in [-2^(b-1), 2^(b-1) - 1].
        layout: From `plan`.

    Returns:
        int64, shape (layout.slots,), in [0, t).

    Raises:
        SecureSumError: Wrong shape, not integers, or a value out of range.
    """
    half = 1 << (layout.bits - 1)
    values = np.asarray(values)
    if values.dtype.kind not in "iu" or values.shape != (layout.values,):
        raise SecureSumError(
            f"values to pack must be {layout.values} integers, not {values.dtype} of shape {values.shape}"
        )
    low, high = int(values.min()), int(values.max())
    if low < -half or high >= half:
        raise SecureSumError(
            f"values to pack must lie in [{-half}, {half - 1}] ({layout.bits} bits), not [{low}, {high}]"
        )
    used, lanes = layout.used_slots, layout.lanes
    flat = np.zeros(lanes * used, dtype=np.int64)
    np.add(values, half, out=flat[: layout.values], casting="unsafe")
    lane = flat.reshape(lanes, used)
    slots = np.zeros(layout.slots, dtype=np.int64)
    head = slots[:used]
    head += lane[-1]
    for other in lane[-2::-1]:
        head *= layout.radix
        head += other
    return slots


def unpack(slots: np.ndarray, layout: Layout, artists_in_sum: int) -> np.ndarray:
    """The sum of the vectors of `artists_in_sum` artists, out of the sum of their slots mod t.

    Args:
        slots: Integers in [0, t), shape (layout.slots,).
        layout: The layout that every artist packed with.
        artists_in_sum: How many were added, 1..layout.artists.

    Returns:
        int64, shape (layout.values,), offsets subtracted.

    Raises:
        SecureSumError: A lane holds more than that many artists could have put there, or padding is not zero:
            a foreign key, a missing mask, or an artist that broke the protocol.
    """
    if not 1 <= artists_in_sum <= layout.artists:
        raise SecureSumError(f"a sum in this layout has 1 to {layout.artists} artists, not {artists_in_sum}")
    slots = np.asarray(slots)
    if slots.dtype.kind not in "iu" or slots.shape != (layout.slots,):
        raise SecureSumError(
            f"slots must be {layout.slots} integers, not {slots.dtype} of shape {slots.shape}"
        )
    if int(slots.min()) < 0 or int(slots.max()) >= layout.profile.plain_modulus:
        raise SecureSumError(f"slots must lie in [0, {layout.profile.plain_modulus})")
    used, lanes = layout.used_slots, layout.lanes
    rest = slots[:used].astype(np.int64)
    lane = np.empty((lanes, used), dtype=np.int64)
    for row in lane:
        quotient = rest // layout.radix
        np.subtract(rest, quotient * layout.radix, out=row)
        rest = quotient
    flat = lane.reshape(-1)
    total, padding = flat[: layout.values], flat[layout.values :]
    most = artists_in_sum * ((1 << layout.bits) - 1)
    if rest.any() or padding.any() or slots[used:].any() or int(total.max()) > most:
        raise SecureSumError(
            f"the opened slots are not a sum of {artists_in_sum} packed vectors: another key, a missing "
            "mask, or an artist that broke the layout"
        )
    return total - artists_in_sum * (1 << (layout.bits - 1))
