"""A trained detector out of the framework."""
