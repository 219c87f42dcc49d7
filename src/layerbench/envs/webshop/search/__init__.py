"""Lucene's search: tokens, postings, BM25."""
