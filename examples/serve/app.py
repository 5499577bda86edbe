"""Speech emotion recognition over HTTP.

pip install fastapi python-multipart uvicorn
uvicorn --app-dir examples/serve app:app
curl -F file=@recording.wav http://127.0.0.1:8000/predict

The environment variable ``MODEL`` names the model: a folder or a hub name. Default: the Shiftformer of the
repository, if the server runs in the root of a clone.
"""

import os
from itertools import islice
from threading import Lock

from fastapi import FastAPI, HTTPException, UploadFile
from fastapi.responses import JSONResponse

from temporal_shift.ser import Recognizer
from temporal_shift.ser.audio.reading import read_blocks
from temporal_shift.ser.inference.recognizer import check_length, mean_probabilities
from temporal_shift.ser.utils.errors import RecipeError

MAX_BYTES = 20_000_000
MAX_SECONDS = 300  # a small file can contain hours of silence

recognizer = Recognizer.load(os.environ.get("MODEL", "examples/real-speech/models/Shiftformer"))
lock = Lock()  # one prediction at a time, because it uses all cores
app = FastAPI()


@app.middleware("http")
async def limit_size(request, call_next):
    length = request.headers.get("content-length", "")  # the server reads no more bytes than this
    if request.method == "POST" and not (length.isdecimal() and int(length) <= MAX_BYTES):
        return JSONResponse({"detail": f"Content-Length must be at most {MAX_BYTES}, got {length or 'none'}"}, 413)
    return await call_next(request)


@app.post("/predict")
def predict(file: UploadFile):
    try:
        blocks = list(islice(read_blocks(file.file), MAX_SECONDS + 1))  # blocks of about one second
        check_length(sum(map(len, blocks)), "the recording")
    except RecipeError as error:
        raise HTTPException(400, str(error)) from None
    if len(blocks) > MAX_SECONDS:
        raise HTTPException(400, f"the recording must be at most {MAX_SECONDS} s long")
    with lock:
        windows = list(recognizer.windows(blocks))
    probabilities = dict(zip(recognizer.labels, mean_probabilities(windows), strict=True))
    return {"label": max(probabilities, key=probabilities.get), "probabilities": probabilities}
