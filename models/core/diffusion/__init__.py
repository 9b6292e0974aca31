"""Schedule, U-Net, samplers, bound, ODE."""
