"""Runnel runs PySpark Structured Streaming programs in this process, without a JVM."""

__version__ = "0.1.0"
