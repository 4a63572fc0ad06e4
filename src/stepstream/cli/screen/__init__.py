"""Runs drawn on a terminal: the state made into views, those into lines, and lines into what a terminal understands."""
