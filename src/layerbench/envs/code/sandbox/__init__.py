"""Runs programs that nobody trusts, and decides outside of them whether they are right."""
