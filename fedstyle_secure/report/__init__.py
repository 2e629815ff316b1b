"""From a run's folder and its audit to pages that a person can read, check and sign."""

from fedstyle_secure.packages import answers_calls

answers_calls(__name__, "fedstyle_secure.report.formats:report")
