"""Records to tables of what may be compared, and tables to text and data."""
