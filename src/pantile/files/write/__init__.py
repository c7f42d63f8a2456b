"""Results in files, staged until they are whole: `sink_of` finds the sink that a path means."""
