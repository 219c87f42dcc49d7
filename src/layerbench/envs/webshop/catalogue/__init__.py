"""Products: the published catalogue, the synthetic one, and their index on disk."""
