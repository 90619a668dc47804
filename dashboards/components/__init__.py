"""Pieces that several pages share."""

__all__: list[str] = []
