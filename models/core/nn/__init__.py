"""Networks that know no density: convolutions, residual nets, masked MLPs, Lipschitz layers."""
