"""Default settings as hydra YAML files; their types are in ``config/schema.py``."""
