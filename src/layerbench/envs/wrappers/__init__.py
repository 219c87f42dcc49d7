"""Environments of other packages, as this package plays them: one module a package.

Each module imports its package when an environment is asked for, and not before.
"""
