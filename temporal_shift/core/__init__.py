"""The computation of a shift. Nothing here is public.

Each backend, :mod:`.cpu`, :mod:`.triton` and :mod:`.graph`, has ``shift(x, residual, bounds, geometry)``, which returns
a new tensor, and ``shift_(x, bounds, geometry)``, which writes to ``x``. ``bounds`` is the argument that
``geometry.ragged`` names: ``lengths``, ``cu_seqlens`` or ``None``. Compilers get :mod:`.graph`; in eager mode,
:mod:`.dispatch` chooses the backend and provides the gradient.
"""
