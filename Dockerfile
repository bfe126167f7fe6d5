# The page and its REST interface:
#   docker build --tag unmask .
#   docker run --rm --publish 127.0.0.1:7860:7860 unmask
# Nothing of it needs the network; --read-only --tmpfs /tmp keeps everything in memory.
FROM python:3.12-slim AS build
WORKDIR /source
COPY setup.py pyproject.toml README.md LICENSE ./
COPY unmask unmask
COPY weights weights
# ONNX Runtime completes the photos; TensorFlow would be three quarters of the image.
ENV UNMASK_TENSORFLOW=none UNMASK_OPENCV=opencv-python-headless
RUN python -m venv /opt/unmask && /opt/unmask/bin/pip install --no-cache-dir ".[app]"

FROM python:3.12-slim
COPY --from=build /opt/unmask /opt/unmask
RUN useradd --create-home unmask
USER unmask
ENV PATH=/opt/unmask/bin:$PATH
EXPOSE 7860
HEALTHCHECK --start-period=60s CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:7860/api/health')"]
CMD ["unmask", "serve", "--host", "0.0.0.0"]
