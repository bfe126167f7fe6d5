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
# Without what the server never imports or serves: tests of others, gradio's video tools. Without
# bytecode too: 36 MB that would spare a server some seconds, once.
RUN pip --python /opt/unmask/bin/python uninstall --yes networkx hf-xet \
    && cd /opt/unmask/lib/python3.12/site-packages \
    && rm -r gradio/templates/node gradio/templates/frontend/static/ffmpeg \
    && find . -type d -name tests -prune -exec rm -r {} + \
    && /opt/unmask/bin/python -I -B -c \
        "import unmask.app.page; unmask.Unmasker().load()"

FROM python:3.12-slim
COPY --from=build /opt/unmask /opt/unmask
RUN useradd --create-home unmask
USER unmask
ENV PATH=/opt/unmask/bin:$PATH PYTHONDONTWRITEBYTECODE=1
EXPOSE 7860
HEALTHCHECK --start-period=60s CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:7860/api/health')"]
CMD ["unmask", "serve", "--host", "0.0.0.0"]
