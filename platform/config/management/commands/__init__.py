"""Commands that cross apps."""
