"""The training loop on patches in memory: losses, rates, devices, checkpoints. Knows neither cubes nor tiles."""
