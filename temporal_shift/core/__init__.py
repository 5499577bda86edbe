"""Who computes a shift.

Each backend has ``shift(x, residual, bounds, geometry)``, a new tensor, and ``shift_(x, bounds, geometry)``, in place;
``bounds`` are the lengths or the ``cu_seqlens`` that ``geometry.ragged`` names. :mod:`.traced` is what compilers see;
elsewhere :mod:`.autograd` picks :mod:`.aten` or :mod:`.triton` and differentiates it.
"""
