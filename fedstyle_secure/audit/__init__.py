"""The bridge between runs and attacks: what each adversary has, and what was found with it."""

from fedstyle_secure.packages import answers_calls

answers_calls(__name__, "fedstyle_secure.audit.runner:audit")
