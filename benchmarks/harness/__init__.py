"""The only place that times, repeats and prints.

Every measurement has a process of its own. The rows of a case take turns, so that a slow minute of the machine meets
all of them, and ratios are taken within a round. Where rows differ by little, they share a process and take turns pass
by pass.

- `case`: what a case is. - `passes`: times the passes of a peer. - `rounds`: repeats, each time in a fresh process.
- `report`: medians, spreads, ratios, tables. - `environment`: what was measured, and where.
"""
