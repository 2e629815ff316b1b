"""Where artworks come from: procedural, a folder, or a public hub."""
