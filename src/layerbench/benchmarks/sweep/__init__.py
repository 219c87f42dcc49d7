"""Sweeps: runs of the base model, of full training and of single layers, for several seeds."""
