"""Code: small generated programs, and published problems whose tests run in a sandbox."""
