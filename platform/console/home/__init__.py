"""What the console's first page is made of: one module a section."""
