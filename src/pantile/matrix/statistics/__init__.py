"""Sums, means, variances and norms over rows, over features, or over everything."""
