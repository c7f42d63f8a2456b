"""Windrow against its peers: one table of peers, timed side by side and held to one answer."""

__all__: list[str] = []
