"""What a person looks at, as pure data: the state of runs, made into views that a terminal or a page draws."""
