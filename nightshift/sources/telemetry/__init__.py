"""Telemetry: LDMS, other tables of node metrics, Prometheus, GPUs, and this machine."""
