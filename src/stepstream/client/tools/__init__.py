"""The tools of a run: functions that a model may call."""
