"""The settings of a run: their form, their values, and what they may be."""
