"""How fast it is and what it needs; each file is a command."""
