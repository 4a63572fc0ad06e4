"""The calls around a stream: open runs, answer them, ask for the truth."""
