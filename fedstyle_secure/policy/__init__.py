"""What a run must meet, and how that is told to the tools that read it."""
