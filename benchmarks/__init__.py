"""Accuracy, speed, memory and scaling, ours beside others'; ``python -m benchmarks`` prints all tables."""
