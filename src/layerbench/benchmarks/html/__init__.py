"""Results as HTML: one file a page, which fetches nothing and shows foreign text as text."""
