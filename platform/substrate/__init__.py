"""What every app stands on: scoped rows, units of work, the change log, the job table, blobs, secrets."""
