"""Text recognition: a lightweight recogniser of lettering, with hashed updates."""
