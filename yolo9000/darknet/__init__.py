"""The original program's files: its text files, .cfg and .weights."""
