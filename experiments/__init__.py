"""base.py has a complete config; a file per table says how it differs."""
