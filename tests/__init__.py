"""The package of the tests."""
