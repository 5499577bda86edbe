"""How a shift is computed. Nothing here is public.

Each backend, :mod:`.cpu`, :mod:`.triton` and :mod:`.graph`, has ``shift(x, residual, bounds, geometry)``, which returns
a new tensor, and ``shift_(x, bounds, geometry)``, which writes to ``x``. ``bounds`` is the argument that
``geometry.ragged`` names: ``lengths``, ``cu_seqlens`` or ``None``. Compilers see :mod:`.graph`; otherwise
:mod:`.dispatch` chooses the backend and differentiates it.
"""
