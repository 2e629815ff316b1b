"""Private AI art: a diffusion backbone that artists tune together, and adapters that stay with them."""
