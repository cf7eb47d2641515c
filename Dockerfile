# One image for every process of the service; docker-compose.yml says which one a container is.
#
#   docker build -t modelwright:cpu .
#   docker build -t modelwright:cuda --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 .

ARG PYTHON=3.13-slim-bookworm

# ---- build: everything that is needed to install, and that nobody needs afterwards
FROM python:${PYTHON} AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
WORKDIR /source
RUN python -m venv /opt/modelwright
# The dependencies alone, in a layer that lasts until pyproject.toml changes.
COPY pyproject.toml scripts/requirements ./
RUN python requirements pyproject.toml worker > requirements.txt \
    && /opt/modelwright/bin/pip install --extra-index-url "${TORCH_INDEX}" --requirement requirements.txt
COPY README.md ./
COPY api ./api
COPY services ./services
COPY worker ./worker
COPY modelwright ./modelwright
COPY migrations ./migrations
RUN /opt/modelwright/bin/pip install --no-deps .

# ---- run: Python, our environment, an ordinary user, a folder for its files
FROM python:${PYTHON} AS run
RUN useradd --uid 10001 --create-home --shell /usr/sbin/nologin modelwright \
    && install -d -o modelwright -g modelwright -m 0700 /data
COPY --from=build /opt/modelwright /opt/modelwright
ENV PATH=/opt/modelwright/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONSAFEPATH=1 \
    MODELWRIGHT_DATA_DIR=/data
WORKDIR /data
USER 10001
EXPOSE 8000
STOPSIGNAL SIGTERM
CMD ["python", "-m", "uvicorn", "api.main:app", "--host", "0.0.0.0", "--port", "8000", \
     "--timeout-graceful-shutdown", "10", "--no-server-header"]
