"""Train networks on scenes without ground truth: patches, protocols, losses, the loop. Everything here loads torch."""
