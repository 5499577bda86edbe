"""The recipe: speech emotion recognition on frozen pre-trained encoders. Needs ``pip install "temporal-shift[ser]"``."""
