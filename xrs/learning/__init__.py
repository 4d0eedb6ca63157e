"""The training loop on patches in memory: losses, learning rates, devices, checkpoints. Knows neither cubes nor tiles."""
