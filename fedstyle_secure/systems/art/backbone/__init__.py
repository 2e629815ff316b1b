"""What makes pictures: a diffusion model that has seen public and procedural pictures only."""
