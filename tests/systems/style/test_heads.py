"""The head that moves in public directions, and what second moments make of it."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fedstyle_secure.systems.style.heads import (
    DirectedHead,
    Residuals,
    denoised,
    directions_of,
    head_of,
    second_moment,
    second_moment_row,
    whitening_base,
)

vectors = arrays(np.float64, 6, elements=st.floats(-1e3, 1e3))


@given(vector=vectors)
def test_a_row_has_length_one_at_most_and_stands_for_the_outer_product(vector):
    row = second_moment_row(vector)
    length = np.linalg.norm(vector)
    assert np.linalg.norm(row) <= 1 + 1e-9
    if length > 1e-9:
        unit = vector / length
        assert np.allclose(second_moment(row, 6), np.outer(unit, unit), atol=1e-12)


def test_residuals_are_a_row_a_picture_less_half_of_its_anchor():
    rng = np.random.default_rng(0)
    pictures, anchors = rng.normal(size=(5, 4)), rng.normal(size=(5, 4))
    rows = Residuals(pictures, anchors, 0.5)
    naive = [second_moment_row(x - 0.5 * a) for x, a in zip(pictures, anchors, strict=True)]
    assert rows.shape == (5, 10)
    assert np.array_equal(list(rows), naive)


def test_a_directed_head_is_the_map_that_it_says_it_is():
    """Beside a naive product of matrices, and only its symmetric part counts."""
    torch.manual_seed(0)
    head = DirectedHead(5, 2)
    base, directions = torch.randn(5, 5), torch.linalg.qr(torch.randn(5, 2))[0]
    head.load_state_dict(
        {"base": base, "directions": directions, "core": torch.tensor([[1.0, 4.0], [0, -1]])}
    )
    inputs = torch.randn(3, 5)
    inside = directions @ torch.tensor([[1.0, 2.0], [2.0, -1.0]]) @ directions.T
    assert torch.allclose(head(inputs), inputs @ base @ (torch.eye(5) + inside), atol=1e-5)
    head(inputs).square().sum().backward()
    assert torch.allclose(head.core.grad, head.core.grad.T)


@pytest.mark.parametrize("rank", [0, 3, 50])
def test_every_head_begins_as_the_identity(rank):
    inputs = torch.randn(4, 8)
    assert torch.equal(head_of(8, rank)(inputs), inputs)


def test_directions_are_where_vectors_lie_after_the_base():
    vectors = np.array([[0.0, 0, 5, 0], [0, 0, -2, 0.1], [0.3, 0, 0, 0]])
    swap = np.eye(4)[[2, 1, 0, 3]]
    found = directions_of(vectors, swap, 2)
    assert np.allclose(found.T @ found, np.eye(2), atol=1e-6)
    assert np.allclose(np.abs(found[:, 0]), [1, 0, 0, 0], atol=0.1)
    assert np.allclose(np.abs(found[:, 1]), [0, 0, 1, 0], atol=0.1)


def test_noise_is_taken_off_a_second_moment():
    """Of a known matrix with noise as a sum has it, the denoised one is nearer to the truth by far, and
    noise alone has no direction left. Seed fixed; 20 draws."""
    rng, dim, deviation = np.random.default_rng(1), 40, 3.0
    true = np.diag(np.r_[[200.0, 120.0, 60.0], np.full(dim - 3, 5.0)])
    better = 0
    for _ in range(20):
        row = rng.normal(size=dim * (dim + 1) // 2) * deviation
        noisy = true + second_moment(row, dim)
        better += np.linalg.norm(denoised(noisy, deviation) - true) < 0.5 * np.linalg.norm(noisy - true)
        alone = np.linalg.eigvalsh(denoised(second_moment(row, dim) + np.eye(dim), deviation))
        assert np.ptp(alone[:-2]) < 1e-9
    assert better == 20
    assert np.allclose(denoised(true, 0.0), true)


def test_the_base_shortens_directions_that_vary_within_artists():
    base = whitening_base(np.diag([9.0, 1.0, 1.0, 1.0]))
    values = np.diag(base)
    # (9 / 3 + 2)^(-1/2) beside (1 / 3 + 2)^(-1/2), of largest factor 1.
    assert values == pytest.approx([np.sqrt((1 / 3 + 2) / (9 / 3 + 2)), 1, 1, 1])
    assert np.array_equal(whitening_base(np.zeros((3, 3))), np.eye(3))
