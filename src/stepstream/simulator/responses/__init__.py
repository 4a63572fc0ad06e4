"""The Responses API of the simulator: the same scenarios, told as responses with their output items."""
