"""Other vocabularies of agent runs, translated to the events that the fold knows. README.md has the tables."""
