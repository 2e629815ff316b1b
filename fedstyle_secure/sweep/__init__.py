"""Many runs over a grid of settings, each with its audit, and what they say about privacy and utility."""
