"""One reader for each format in which people have their data."""
