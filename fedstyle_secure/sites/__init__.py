"""Over real sites: a home for each part, who knows whom, and nodes that run nothing but this package."""
