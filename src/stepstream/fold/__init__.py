"""Events → changes: deltas folded into full snapshots. No IO, no clock, no event loop."""
