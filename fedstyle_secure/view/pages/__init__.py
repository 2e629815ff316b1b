"""What each page says, as plain values made of a run's files; templates print them."""
