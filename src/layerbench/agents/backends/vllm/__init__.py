"""Sampling by vLLM, with the weights of the live model."""
