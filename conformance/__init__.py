"""The originals' own tests and agreement tables, run against `pantile.compat`."""
