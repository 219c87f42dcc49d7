"""What pytest is not to import by itself: the tests' workers and subprocesses do."""

collect_ignore = ["misbehaving.py", "orphans.py"]
