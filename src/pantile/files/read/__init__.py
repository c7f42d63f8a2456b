"""Images in files, opened when needed and read by slices: `open_image` finds the reader that a path means."""
