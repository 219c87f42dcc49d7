"""Catalogues of products: the published ones, the synthetic one, and their index on disk."""
