"""Streamlit screens: they show what services return and send back what people answer."""

__all__: list[str] = []
