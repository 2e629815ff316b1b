"""Many runs over a grid of settings, each with its audit, and what they say about privacy and utility."""

from fedstyle_secure.packages import answers_calls

answers_calls(__name__, "fedstyle_secure.sweep.runner:sweep")
