"""What a release costs, and the one place that everything private leaves through."""
