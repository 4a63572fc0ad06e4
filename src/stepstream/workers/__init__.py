"""workers: work on runs that many processes share, each run by one of them at a time."""
