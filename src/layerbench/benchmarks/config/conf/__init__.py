"""Default settings, as hydra YAML; ``config/schema.py`` has their types."""
