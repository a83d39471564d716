"""Bounds of what may be handed in and asked for. Sizes are bytes, lengths letters."""

MAX_FILE_BYTES = 50 * 1024 * 1024
MAX_TEXT_CHARS = 10 * 1024 * 1024
MAX_BULK_BYTES = 50 * 1024 * 1024
MAX_BULK_LINES = 10_000
MAX_METADATA_BYTES = 16 * 1024
MAX_METADATA_DEPTH = 5
MAX_ACL_ENTRIES = 1_000
MAX_QUERY_CHARS = 8_000
MAX_HITS = 100
MAX_FILTER_VALUES = 200
# Filters are turned into documents before the index is asked; more than this many would be no filter.
MAX_FILTERED_DOCUMENTS = 5_000
MAX_CHUNKS = 50_000
MAX_PASSAGES = 100
# Documents named in one request that acts on many.
MAX_CHOSEN_DOCUMENTS = 500
