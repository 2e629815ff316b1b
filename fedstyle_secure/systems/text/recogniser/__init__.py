"""The recogniser: from a crop to a text, how it learns one, and what it has learned before any artist."""
