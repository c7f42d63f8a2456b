"""Views, boundary reads, tapers, and the compiled gather and add loops."""
