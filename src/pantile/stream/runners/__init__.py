"""Who does the tasks of a plan: threads, processes, a cluster, or dask."""
