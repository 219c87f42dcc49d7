"""What runs have trained, as models: loaded, exported, combined."""
