"""Trackers of experiments: processes that a run's metrics are sent to as well."""
