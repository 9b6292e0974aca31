"""The gated PixelCNN: network, cached network, distribution of an image, sampler."""
