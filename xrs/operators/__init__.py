"""The public functions: check, look the method up, hand it to `lazy`, label the result."""
