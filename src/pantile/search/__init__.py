"""The most similar patches: every patch of a grid against others, exactly."""
