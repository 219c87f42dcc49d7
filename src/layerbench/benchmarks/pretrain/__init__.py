"""Recipes that pretrain the embedded models, or another model, by behaviour cloning."""
