"""A simulator of GPU pools, and what Atrium's routing and that of others make of the same load.

`python -m benchmarks.routing` runs all of it: the production code of `routing` (queue, replica score, prefix index)
over simulated vLLM replicas in virtual time, beside re-implementations of other routers' policies.
"""
