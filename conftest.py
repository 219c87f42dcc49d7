"""What pytest leaves out when it looks for doctests."""

# Each imports a tracker, which may not be installed, and reads its settings as it is imported.
collect_ignore_glob = ["src/layerbench/benchmarks/trackers/*_tracker.py"]
