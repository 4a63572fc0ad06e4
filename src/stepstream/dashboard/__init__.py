"""dashboard: every run of a journal in a browser, and a door for runs of any process."""

from stepstream.dashboard.application import Dashboard

__all__ = ["Dashboard"]
