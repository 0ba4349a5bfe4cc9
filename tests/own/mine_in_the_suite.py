"""What the suite asks for of this model alone."""

TINY = ["model.network.bias=false"]
