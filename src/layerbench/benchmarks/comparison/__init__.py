"""Policies on the same tasks: what is paired, comparisons and votes, as text and data."""
