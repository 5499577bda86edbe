"""A trained model on speech.

- ``recognizer``: a model on a recording of any length, window by window; ``predict_files`` does that for many files.
- ``speech_stream``: a model chunk by chunk, with each frame encoded once, where its encoder allows it.
- ``live``: updates in real time, from ``microphone`` or a recording; ``live_view`` shows them in a terminal.
- ``demo``: the web page; ``demo_views`` makes its HTML and plots.
- ``demo_server``: its server; ``demo_gate``, made of the parts in ``asgi``, decides which requests it answers.
- ``remarks``: what to say beside a label.
"""
