"""Sampling by vLLM, kept in step with the model that learns."""
