"""REST views of tenants. They hold no rules."""
