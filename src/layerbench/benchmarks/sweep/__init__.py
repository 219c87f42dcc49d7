"""Many runs: the base model, full training and single layers, for several seeds."""
