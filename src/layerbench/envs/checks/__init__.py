"""Checks of an environment, without a model: all of them, and a few before every run."""
