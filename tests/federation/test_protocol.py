"""What travels: round trips, and every malformed record refused by name."""

import io
import json
import math
from contextlib import suppress

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict
from hypothesis import given
from hypothesis import strategies as st

from fedstyle_secure.errors import FederationError
from fedstyle_secure.federation.protocol import Instruction, Reply, instruction_record, reply_record
from fedstyle_secure.privacy.budget import Budget
from fedstyle_secure.privacy.gate import Gate, Release
from fedstyle_secure.privacy.mechanisms import GaussianSum
from fedstyle_secure.system import State


def state(number=3, cards=("ann", "bo"), dim=4, **changes):
    parts = {
        "fixed": {"projection": np.full((dim, 2), 0.25, np.float32)},
        "trained": {"head.weight": np.ones((dim, 6), np.float32)},
        "public": {"cards": np.full((len(cards), dim), 0.5, np.float32)},
        "texts": {"cards": tuple(cards), "styles": ("s1", "s2")},
    }
    return State(number, **parts | changes)


def sent(given, fixed=True):
    return instruction_record(given, fixed=fixed)


@given(number=st.integers(0, 10**6), names=st.lists(st.text(min_size=1), max_size=4, unique=True))
def test_an_instruction_survives_the_trip(number, names):
    given_state = state(number, tuple(names))
    got = Instruction.from_record(sent(given_state))
    again = got.state(got.fixed)
    assert again.digest == given_state.digest
    assert (again.round, again.texts) == (number, {"cards": tuple(names), "styles": ("s1", "s2")})
    assert np.array_equal(again.trained["head.weight"], given_state.trained["head.weight"])


def test_the_fixed_part_travels_once_and_its_digest_always():
    whole, rest = sent(state()), sent(state(), fixed=False)
    assert set(whole.array_records) - set(rest.array_records) == {"fixed"}
    first, later = Instruction.from_record(whole), Instruction.from_record(rest)
    assert later.fixed is None
    assert later.fixed_digest == first.fixed_digest == state().fixed_digest
    assert later.state(first.fixed).digest == state().digest


def test_every_part_of_an_instruction_counts_for_its_digest():
    base = state()
    changed = [
        state(number=4),
        state(cards=("ann", "cy")),
        state(fixed={"projection": base.fixed["projection"] * 2}),
        state(trained={"head.weight": base.trained["head.weight"] * 2}),
        state(public={"cards": base.public["cards"] * 2}),
        state(texts={"cards": ("ann", "bo"), "styles": ("s1", "s3")}),
        # A tensor of one part is not one of another.
        state(trained=base.trained | base.public, public={}),
    ]
    assert len({one.digest for one in (base, *changed)}) == 8


def damage_version(record):
    record["round"]["version"] = 1


def damage_names(record):
    record["round"]["texts"] = "not json"


def damage_text(record):
    record["round"]["texts"] = json.dumps({"cards": [1]})


def damage_number(record):
    record["round"]["number"] = -1


def damage_missing(record):
    del record["trained"]


def damage_fixed(record):
    record["fixed"] = ArrayRecord({"projection": Array(np.zeros((4, 2), np.float32))})


def damage_value(record):
    record["public"] = ArrayRecord({"cards": Array(np.full((2, 4), np.nan, np.float32))})


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (damage_version, "protocol version 2"),
        (damage_names, "bad or missing field"),
        (damage_text, "names are texts"),
        (damage_number, "bad or missing field: number"),
        (damage_missing, "'trained' is missing"),
        (damage_fixed, "the fixed part is not the one that its digest says"),
        (damage_value, "'cards' must be finite"),
    ],
)
def test_a_malformed_instruction_is_refused(damage, text):
    record = sent(state())
    damage(record)
    with pytest.raises(FederationError, match=text):
        Instruction.from_record(record)


def test_names_without_end_are_refused_before_they_are_read():
    record = sent(state())
    record["round"]["texts"] = "[" * (10**6 + 1)
    with pytest.raises(FederationError, match="characters of names"):
        Instruction.from_record(record)
    record["round"]["texts"] = "[" * 10**6
    with pytest.raises(FederationError, match="bad or missing field"):
        Instruction.from_record(record)


SHAPES = {"card": {"card": (4,)}, "update": {"w": (2, 3)}}


def reply(**arrays):
    record = RecordDict({"reply": ConfigRecord({"artist": "ann"})})
    for kind, group in arrays.items():
        record[kind] = ArrayRecord({name: Array(a) for name, a in group.items()})
    return record


def test_a_reply_carries_what_was_sealed_and_the_name_alone(tmp_path):
    card = np.arange(4, dtype=np.float32)
    gate = Gate(tmp_path, "run", Budget(math.inf, 1e-5, "artwork"))
    sealed = gate.send("r", 0, lambda: [Release("card", {"card": card}, GaussianSum(1.0, 1.0))])
    record = reply_record("ann", sealed, ())
    assert dict(record.config_records["reply"]) == {"artist": "ann"}
    assert set(record) == {"reply", "card"}
    got = Reply.from_record(record, SHAPES)
    assert got.artist == "ann"
    assert np.array_equal(got.arrays["card"]["card"], card)


@pytest.mark.parametrize(
    ("record", "text"),
    [
        (RecordDict(), "does not say which artist"),
        (reply(extra={"x": np.zeros(1, np.float32)}), "'ann': sent 'extra'"),
        (reply(card={"other": np.zeros(4, np.float32)}), "'ann': card: tensor 'card' is missing"),
        (reply(card={"card": np.zeros(5, np.float32)}), "'ann': card: tensor 'card' is float32 \\(5,\\)"),
        (reply(card={"card": np.zeros(4, np.float64)}), "type 'float64'"),
        (reply(card={"card": np.zeros(4, np.complex64)}), "type 'complex64'"),
        (reply(update={"w": np.full((2, 3), np.nan, np.float32)}), "'ann': update: tensor 'w' is not finite"),
        (reply(update={"w": np.full((2, 3), 3e38, np.float32)}), "'ann': update: tensor 'w' is not finite"),
    ],
)
def test_a_bad_reply_is_refused_and_names_artist_and_tensor(record, text):
    with pytest.raises(FederationError, match=text):
        Reply.from_record(record, SHAPES)


def raw(data):
    array = Array(np.zeros(4, np.float32))
    array.data = data
    record = RecordDict({"reply": ConfigRecord({"artist": "ann"})})
    record["card"] = ArrayRecord({"card": array})
    return record


GOOD = Array(np.zeros(4, np.float32)).data


def header_that_claims(shape):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return stream.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        GOOD[:-1],
        GOOD + b"x",
        b"PK" + GOOD[2:],
        header_that_claims((10**15,)) + b"0" * 16,
        header_that_claims((-4,)) + b"0" * 16,
        GOOD.replace(b"<f4", b"|O8"),
    ],
)
def test_bytes_that_are_no_array_are_refused_without_allocating_what_they_claim(data):
    with pytest.raises(FederationError, match="'ann'"):
        Reply.from_record(raw(data), SHAPES)


@pytest.mark.parametrize(
    "shape",
    [(1,) * 65 + (4,), (1,) * 40_000, (0, 2**70), (0, *(2**31 - 1,) * 3), (-1, -4), (2**62, 4)],
)
def test_a_shape_that_the_bytes_cannot_have_is_refused(shape):
    record = raw(GOOD)
    record.array_records["card"]["card"].shape = shape
    with pytest.raises(FederationError, match="'ann'"):
        Reply.from_record(record, SHAPES)


def test_a_shape_of_no_values_is_refused_even_where_its_header_says_the_same():
    """numpy has no array of it; the platform's run ended in its error."""
    shape = (0, *(2**31 - 1,) * 3)
    record = raw(header_that_claims(shape))
    record.array_records["card"]["card"].shape = shape
    with pytest.raises(FederationError, match="'ann': tensor 'card' has a shape that no array can"):
        Reply.from_record(record, SHAPES)


def test_what_is_written_into_one_message_is_not_in_the_next():
    record = sent(state())
    first = Instruction.from_record(record)
    first.public["cards"][:] = 7
    assert not (Instruction.from_record(record).public["cards"] == 7).any()


@given(position=st.integers(0, len(GOOD) - 1), value=st.integers(0, 255))
def test_no_flipped_byte_crashes_the_platform(position, value):
    data = bytearray(GOOD)
    data[position] = value
    if bytes(data[:-16]) == GOOD[:-16]:
        # Only a value changed: it is taken, or refused as implausible.
        with suppress(FederationError):
            assert Reply.from_record(raw(bytes(data)), SHAPES).arrays["card"]["card"].shape == (4,)
    else:
        with pytest.raises(FederationError, match="'ann'"):
            Reply.from_record(raw(bytes(data)), SHAPES)
