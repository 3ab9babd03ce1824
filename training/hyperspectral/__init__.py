"""SPECIAL (arXiv 2501.16222): land cover of a hyperspectral cube from sentences, without any label."""
