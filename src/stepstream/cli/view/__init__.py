"""The live view of runs: a look at the processor's state, made into a picture, made into lines, put on a terminal."""
