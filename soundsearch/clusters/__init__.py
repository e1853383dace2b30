"""Ingests by many machines: `driver` directs the workers of a Ray cluster, `worker` is one."""
