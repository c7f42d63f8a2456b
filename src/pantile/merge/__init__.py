"""How overlapping values meet: accumulate, combine, finalize; a row for each merge in `spec`."""
