"""Run AI Studio's batch service on this machine: datasets, jobs, quotas, a bill, and faults on request."""
