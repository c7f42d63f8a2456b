"""What users call: cut, extract, merge."""
