"""The originals' own tests and agreement tables, run against `windrow.compat`."""
