"""From a run's folder and its audit to pages that a person can read, check and sign."""
