"""``X @ V`` and ``X.T @ U``: by Fourier transforms, patch by patch, or in blocks of rows."""
