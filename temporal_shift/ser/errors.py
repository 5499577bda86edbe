"""The one error that the command line turns into a sentence and exit code 2."""


class RecipeError(ValueError):
    """Something of the user's is not as the recipe needs it: the message says what, where, and what would be right."""
