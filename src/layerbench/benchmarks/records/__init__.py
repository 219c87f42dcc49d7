"""A run on disk: its folder, its record, its episodes."""
