"""ASGI without a framework: requests, answers and streams of the applications here, and a server for this machine."""
