"""Attacks on models that make pictures out of noise. A model is a callable and the schedule of its noise."""
