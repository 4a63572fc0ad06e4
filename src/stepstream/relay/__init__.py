"""relay: any number of viewers of a run, each in the form that it asks for."""
