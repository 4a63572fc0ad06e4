"""What is measured, one file a peer, every one with the same names.

- `PACKAGES`: the distributions whose versions matter to its time.
- `prepare(load)`: whatever can be made before the clock starts. Peers that have a client also have `connect_to(url)`,
  which prepares the same over HTTP.
- `async run(prepared)`: the work that is timed. The clock starts inside a running asyncio loop.
- `check(load, result)`: raise `AssertionError` unless the result is right; return how many events the time covers.
- `async verify(load)`, where a peer has it: what no pass shows, checked once a process, off the clock.

A row that differs from a peer by what it is asked to do is an object of a class with the same methods.
"""
