"""Where chunks come from: HTTP, files, standard input."""
