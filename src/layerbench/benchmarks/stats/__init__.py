"""Success rates, contributions, rankings and their intervals, as pure functions."""
