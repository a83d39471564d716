"""`make bench-peers`: Atrium beside other gateways, by the same load over the same upstream, in one run."""
