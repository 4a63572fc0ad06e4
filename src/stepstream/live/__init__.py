"""Changes → subscribers: streams are read and folded, and what they do is delivered to your code, on anyio."""
