"""Audits of somebody's own model, update, private training or scores in one call each."""
