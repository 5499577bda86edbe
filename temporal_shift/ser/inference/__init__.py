"""Predictions of a trained model.

- ``recognizer``: predicts recordings of any length, window by window; ``predict_files`` does so for many files.
- ``speech_stream``: runs a model chunk by chunk and encodes each frame once, if its encoder allows this.
- ``live``: predicts in real time, from ``microphone`` or a recording; ``live_view`` shows the updates in a terminal.
- ``demo``: the web page; ``demo_views`` makes its HTML and plots.
- ``demo_server``: the server of the page; ``demo_gate``, built on ``asgi``, decides which requests to answer.
- ``remarks``: remarks next to a prediction.
"""
