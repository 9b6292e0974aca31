"""What any log likelihood gives for free: energy, input complexity."""
