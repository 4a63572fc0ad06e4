"""Benchmarks of stepstream: see README.md beside this file."""
