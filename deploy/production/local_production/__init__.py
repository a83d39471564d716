"""The full profile on one machine: which processes, how they are watched, and the front before them."""
