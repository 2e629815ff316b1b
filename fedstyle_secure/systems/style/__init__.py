"""What is learned: the encoder, its losses, the shared styles and the retrieval of artists."""
