"""Mathematics: generated problems, and published ones from files."""
