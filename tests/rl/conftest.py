"""Fixtures of these tests."""

from tests.support.random_models import make_model

__all__ = ["make_model"]
