"""The composition root: settings, servers' entries, what runs where. It knows everyone; nobody imports it."""
