"""Studies and benchmarks; their results are recorded in RESULTS.md."""

__all__: list[str] = []
