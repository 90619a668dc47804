"""Speed, measured: each benchmark checks its result before it is timed."""

__all__: list[str] = []
