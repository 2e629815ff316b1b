"""An artist's vector: one clip over everything, and back again."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fedstyle_secure.federation.vectors import VectorLayout, VectorPart, flatten, mean_row

TRAINED = (("bias", (4,)), ("head.weight", (2, 3)))
LONGEST = 1.25
"""L2 bound on a picture's row."""


def layout(update=True, rows=True, update_share=0.25, rows_share=0.1):
    parts = (
        *([VectorPart("update", TRAINED, 2.0, update_share)] if update else []),
        *([VectorPart("rows", (("sums", (5,)),), LONGEST, rows_share)] if rows else []),
    )
    return VectorLayout(parts)


values = arrays(np.float64, (10,), elements=st.floats(-1e5, 1e5))
rows = arrays(np.float64, (3, 5), elements=st.floats(-1, 1)).map(
    lambda r: r / np.maximum(np.linalg.norm(r, axis=1, keepdims=True), 1) * LONGEST
)


def as_update(flat):
    return {"head.weight": flat[4:].reshape(2, 3), "bias": flat[:4]}


@given(values, rows, st.booleans(), st.booleans())
def test_no_vector_is_longer_than_one(flat, pictures, update, with_rows):
    if not (update or with_rows):
        return
    chosen = layout(update, with_rows)
    vector = chosen.join({"update": flat, "rows": mean_row(pictures)})
    assert vector.shape == (chosen.size,)
    assert np.linalg.norm(vector) <= 1 + 1e-12


@given(arrays(np.float64, (5,), elements=st.floats(-1e5, 1e5)))
def test_no_row_of_any_length_makes_a_vector_longer_than_one(row):
    """A system's rows are its own word: the vector's length is the house's."""
    assert np.linalg.norm(layout().join({"update": np.zeros(10), "rows": row})) <= 1 + 1e-12


@given(arrays(np.float64, (10,), elements=st.floats(-0.5, 0.5)), rows)
def test_what_is_within_its_bounds_comes_back_as_it_was(flat, pictures):
    found = layout().split(layout().join({"update": flat, "rows": mean_row(pictures)}))
    assert np.allclose(flatten(TRAINED, found["update"]), flat, atol=1e-12)
    assert np.allclose(found["update"]["head.weight"], as_update(flat)["head.weight"], atol=1e-12)
    assert np.allclose(found["rows"]["sums"], pictures.mean(axis=0), atol=1e-12)


def test_a_long_update_is_clipped_and_one_that_is_not_finite_counts_as_zeros():
    alone = layout(rows=False)
    update = alone.split(alone.join({"update": np.full(10, 100.0)}))["update"]
    assert np.sqrt(sum(np.square(a).sum() for a in update.values())) == pytest.approx(2.0)
    assert not alone.join({"update": np.array([np.nan, *np.ones(9)])}).any()


def test_an_artist_without_pictures_gives_zeros():
    assert not layout(update=False).join({"rows": mean_row(np.zeros((0, 5)))}).any()


def test_noise_grows_as_the_scales_say():
    both = layout()
    noise = np.random.default_rng(0).normal(size=(4000, both.size))
    split = [both.split(row) for row in noise]
    # 40,000 and 20,000 samples: the deviations are known to 0.5 %.
    assert np.std([s["update"]["bias"] for s in split]) == pytest.approx(both.scale("update"), rel=0.03)
    assert np.std([s["rows"]["sums"] for s in split]) == pytest.approx(both.scale("rows"), rel=0.03)


def test_shares_divide_the_squared_norm():
    longest = np.array([LONGEST, 0, 0, 0, 0])
    vector = layout(update_share=3.0, rows_share=1.0).join({"update": np.full(10, 100.0), "rows": longest})
    assert np.square(vector[:10]).sum() == pytest.approx(0.75)
    assert np.square(vector[10:]).sum() == pytest.approx(0.25)
