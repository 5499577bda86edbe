"""Predictions of a trained model.

- ``recognizer``: predicts recordings of any length, window by window; ``predict_files`` does so for many files.
- ``speech_stream``: runs a model chunk by chunk, if the frames of its encoder have local context.
- ``live``: predicts in real time, from ``microphone`` or a recording; ``live_view`` prints the updates.
- ``demo``: the web page; ``demo_views`` makes its HTML and plots.
- ``demo_server``: the server of the page; ``demo_gate``, built on ``asgi``, decides which requests to answer.
- ``remarks``: the remarks "no speech found" and "tie" next to a prediction.
"""
