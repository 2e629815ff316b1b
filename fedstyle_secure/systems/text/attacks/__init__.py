"""Attacks on what text recognition releases: updates that show letters and words, and the product."""
