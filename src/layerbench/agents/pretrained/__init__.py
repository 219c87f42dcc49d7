"""Pretrained models: loading by name, the embedded ones, and those that are downloaded."""
