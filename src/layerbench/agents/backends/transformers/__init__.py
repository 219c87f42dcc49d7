"""Sampling from transformers models, with key-value caches for rows of different lengths."""
