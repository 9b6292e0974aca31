"""The bundles that ship, by name: others that lie beside them are their owner's to test."""

from pathlib import Path

BUNDLES = Path(__file__).parents[2] / "bundles"
SHIPPED = (
    *("ddpm_fashion-mnist", "ddpm_fraktur-glyphs", "ebm_mnist"),
    *("glow_digits", "glow_fashion-mnist", "glow_mnist"),
    *("idf_digits", "idf_fashion-mnist", "idf_mnist", "iwae_mnist"),
    *("jem_fashion-mnist", "jem_fraktur-glyphs", "linear_flow_digits"),
    *("made_digits", "made_mnist-binary", "maf_breast-cancer", "maf_digits-64", "maf_mnist"),
    *("nice_digits", "pixelcnn_digits", "pixelcnn_fashion-mnist", "pixelcnn_mnist-binary"),
    *("pixelvae_mnist", "realnvp_digits", "realnvp_mnist", "residual_flow_digits"),
    *("screen_cifar10", "screen_fashion-mnist", "screen_fraktur-glyphs", "screen_mnist"),
    *("sylvester_potential-1", "sylvester_potential-2", "sylvester_potential-3"),
    *("sylvester_potential-4", "vae_mnist"),
)


def shipped_paths(prefix: str = "", suffix: str = "") -> list[Path]:
    """Folders of the shipped bundles whose names begin and end so, in order."""
    names = (n for n in SHIPPED if n.startswith(prefix) and n.endswith(suffix))
    return [BUNDLES / name for name in sorted(names)]
