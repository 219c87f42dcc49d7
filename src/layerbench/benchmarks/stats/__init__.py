"""Success rates, contributions, rankings and their confidence intervals, as pure functions."""
