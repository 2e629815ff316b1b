"""Attacks on models that read text."""
