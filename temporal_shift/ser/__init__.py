"""The recipe: speech emotion recognition on frozen pre-trained encoders. Needs the extra ``temporal-shift[ser]``."""
