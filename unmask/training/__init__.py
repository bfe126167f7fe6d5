"""What all trainers share: face folders, callbacks, precision, gradients and checkpoints."""
