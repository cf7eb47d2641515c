"""What the service tells its operator: counters, gauges, traces."""
