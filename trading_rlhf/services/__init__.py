"""Everything that screens and the command line may call."""

__all__: list[str] = []
