"""Whole pictures with what belongs to them: upright, alpha apart, colour profile, EXIF, resolution, place on Earth.

What `open_image` reads by blocks is the bare elements; this is for a picture that is to be written again.
"""
