# The page and its REST interface:
#   docker build --tag unmask .
#   docker run --rm --publish 127.0.0.1:7860:7860 unmask
# Nothing of it needs the network; --read-only --tmpfs /tmp keeps everything in memory.
FROM python:3.12-slim AS build
WORKDIR /source
COPY setup.py pyproject.toml README.md LICENSE ./
COPY unmask unmask
COPY weights weights
# ONNX Runtime completes the photos: with TensorFlow the image would be more than twice as large.
ENV UNMASK_TENSORFLOW=none UNMASK_OPENCV=opencv-python-headless
RUN python -m venv --without-pip /opt/unmask \
    && pip --python /opt/unmask/bin/python install --no-cache-dir --no-compile ".[app]"
# Without the tests of others, and with what the server imports compiled, and nothing else.
RUN find /opt/unmask -type d -name tests -prune -exec rm -r {} + \
    && /opt/unmask/bin/python -I -c "import unmask.app.page; unmask.Unmasker().load()"

FROM python:3.12-slim
COPY --from=build /opt/unmask /opt/unmask
RUN useradd --create-home unmask
USER unmask
ENV PATH=/opt/unmask/bin:$PATH
EXPOSE 7860
HEALTHCHECK --start-period=60s CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:7860/api/health')"]
CMD ["unmask", "serve", "--host", "0.0.0.0"]
