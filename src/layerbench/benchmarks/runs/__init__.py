"""One run: settings to a record."""
