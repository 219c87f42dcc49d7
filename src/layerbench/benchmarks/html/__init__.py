"""Results as self-contained HTML pages that fetch nothing and escape all text from records."""
