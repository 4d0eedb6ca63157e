"""Train networks on scenes without ground truth: pairs, patches from lazy cubes, recipes. All of it loads torch."""
