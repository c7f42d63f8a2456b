"""Which rows a matrix shows: images with their grids, rows of them, and rectangles of these rows."""
