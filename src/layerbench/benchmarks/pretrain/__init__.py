"""Recipes that make the embedded models, or give another model a start."""
