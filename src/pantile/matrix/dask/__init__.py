"""The patch matrix of a dask array: a lazy dask array for every result, one task per region of the image."""
