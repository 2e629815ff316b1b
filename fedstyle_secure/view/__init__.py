"""A page to browse a folder of runs: on this machine alone, read-only, with a token."""
