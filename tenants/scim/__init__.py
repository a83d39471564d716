"""SCIM 2.0 (RFC 7643, 7644), the thinking of it: filters, patches, schemas. No rows and no HTTP are known here."""
