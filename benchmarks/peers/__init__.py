"""What is measured, one file a peer, every one with the same four names.

- `PACKAGES`: the distributions whose versions matter to its time.
- `prepare(load)`: whatever can be made before the clock starts.
- `async run(prepared)`: the work that is timed. The clock starts inside a running asyncio loop.
- `check(load, result)`: raise `AssertionError` unless the result is right; return how many events the time covers.
"""
