"""A site of one's own: what an artist decides at its own machine, whatever a run says."""
