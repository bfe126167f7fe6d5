"""The web page and its REST interface, which `unmask serve` starts."""
