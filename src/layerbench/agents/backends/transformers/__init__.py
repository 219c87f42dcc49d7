"""Sampling by transformers, with key-value caches of our own."""
