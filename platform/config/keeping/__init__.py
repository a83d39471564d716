"""Keeping: an installation in one file, taken while it serves, and brought back into this or another one.

A backup is a zip file: rows of every table that matters as JSON lines, the uploaded files, the vectors, and a manifest
with the SHA-256 of each. The keyring is kept apart. A restore checks the whole file before it touches anything, and
exchanges all rows in one transaction.
"""
