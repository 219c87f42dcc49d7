"""What pytest is not to import by itself: the tests' workers and subprocesses do."""

collect_ignore = ["foreign_envs.py", "misbehaving_envs.py", "orphan_processes.py"]
