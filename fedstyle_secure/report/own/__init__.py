"""The report of an audit of somebody's own model."""
