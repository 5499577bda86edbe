"""Who computes a shift. Each backend has ``shift(x, geometry)``; :mod:`.autograd` picks one and differentiates it."""
