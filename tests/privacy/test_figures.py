"""A cost is never printed below what it is."""

from decimal import Decimal
from fractions import Fraction

from hypothesis import example, given
from hypothesis import strategies as st

from fedstyle_secure.privacy.figures import epsilon_told, rounded_up


@given(st.floats(min_value=0, max_value=1e6), st.integers(min_value=0, max_value=6))
@example(3.2e-47, 0)
@example(5e-324, 6)
def test_a_printed_epsilon_is_at_least_the_epsilon_and_less_than_a_step_above(epsilon, places):
    printed = Decimal(rounded_up(epsilon, places))
    # Fractions are exact; a Decimal's subtraction rounds to 28 digits.
    assert 0 <= Fraction(printed) - Fraction(repr(epsilon)) < Fraction(1, 10**places)
    assert -printed.as_tuple().exponent == places


def test_known_figures():
    assert rounded_up(7.972) == "7.98"
    assert rounded_up(7.97) == "7.97"
    assert rounded_up(8) == "8.00"
    assert rounded_up(34.204, 1) == "34.3"


def test_an_epsilon_is_told_alike_everywhere():
    assert [epsilon_told(x) for x in (7.97212, None, float("inf"))] == [
        "7.98",
        "no guarantee",
        "no guarantee",
    ]
    assert epsilon_told(None, "-") == "-"
