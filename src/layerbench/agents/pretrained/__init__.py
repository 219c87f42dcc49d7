"""Pretrained models: loaded by name, and those that come along or are fetched."""
