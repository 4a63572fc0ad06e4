"""redis: runs kept on Valkey or Redis, for all processes that reach it."""
