"""The settings of a run: their types, default values, checks and text form."""
