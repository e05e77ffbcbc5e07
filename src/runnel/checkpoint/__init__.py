"""The files of a checkpoint and of a file sink's output, in Spark's formats to the letter."""
