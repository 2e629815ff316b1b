"""Names that are near to a known one are told; else what is known is listed."""

from fedstyle_secure.hints import did_you_mean


def test_the_nearest_name_is_told_with_its_section_too():
    assert did_you_mean("epsilom", ["delta", "epsilon"]) == "; did you mean 'epsilon'?"
    assert did_you_mean("rounds", ["privacy.unit", "run.rounds"]) == "; did you mean 'run.rounds'?"


def test_where_none_is_near_the_known_are_listed_up_to_24():
    assert did_you_mean("qqq", ["alpha", "beta"]) == "; valid: alpha, beta"
    names = [f"x{i:03}" for i in range(30)]
    assert did_you_mean("qqq", names) == f"; valid: {', '.join(names[:24])} and 6 more"
