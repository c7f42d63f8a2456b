"""What lets a run that was cut short go on: places beside the final names, and the journal of what is there."""
