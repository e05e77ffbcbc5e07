"""The public test kit: `MemoryStream`, and a pytest plugin with a `spark` fixture."""

from runnel.testing.memory_stream import MemoryStream

__all__ = ["MemoryStream"]
