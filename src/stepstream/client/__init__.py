"""The API calls around a stream: runs opened, answered, polled, cancelled; tools called."""
