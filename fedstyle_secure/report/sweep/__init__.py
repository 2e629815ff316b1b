"""The report of a sweep: what its runs say together."""
