# gpt-oss Playground. Weights, the database and caches live in /data, outside the image:
#   docker build -t gpt-oss-playground .
#   docker run --gpus all -p 7860:7860 -v playground:/data gpt-oss-playground
FROM python:3.11-slim

# Triton compiles small launchers when the GPU's kernels are first used.
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*

RUN useradd --create-home --uid 1000 user && mkdir /data && chown user:user /data
WORKDIR /app

COPY requirements.txt .
RUN pip install --no-cache-dir --disable-pip-version-check -r requirements.txt

COPY app.py ./
COPY inference inference
COPY playground playground
COPY static static
COPY storage storage

ENV PYTHONUNBUFFERED=1 \
    HOST=0.0.0.0 \
    PORT=7860 \
    DATA_DIR=/data \
    HF_HOME=/data/huggingface

USER user
VOLUME /data
EXPOSE 7860

HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f\"http://127.0.0.1:{os.environ['PORT']}/healthz\", timeout=4)"]

CMD ["python", "app.py", "serve"]
