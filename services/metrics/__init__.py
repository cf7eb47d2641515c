"""Metric series: written in segments, read down-sampled."""
