"""Whether a record can be believed: its fields against each other and against what it left."""
