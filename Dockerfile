# Four images in one file, each remade for its own reason only: `deps` (what pip installs), `app` (Augury),
# `model` (what it serves) and, last, `runtime`, which lays the other two over the first.
# docs/how-to/images.md tells how to build, run and push them; scripts/build-images does it with caches.

# The base is an argument, and so is its digest, since only a registry knows it:
#   docker buildx imagetools inspect python:3.11-slim --format '{{.Manifest.Digest}}'
# scripts/build-images asks for it and passes it on. Any Debian with Python 3.11, venv and pip will do.
ARG BASE=python:3.11-slim
ARG BASE_DIGEST=


# --- base: an empty virtual environment that also looks into /app, and a user without rights
FROM ${BASE}${BASE_DIGEST:+@${BASE_DIGEST}} AS base
SHELL ["/bin/sh", "-eu", "-c"]
# Byte code is made where it is wanted, by compileall; pip and venv shall leave none of theirs.
ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
RUN groupadd --gid 10001 augury; \
    useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin augury; \
    install --directory --owner augury --group augury --mode 0750 /data; \
    python3 -m venv --without-pip /opt/augury; \
    /opt/augury/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > /tmp/purelib; \
    echo /app > "$(cat /tmp/purelib)/augury-app.pth"; \
    rm /tmp/purelib


# --- sieve: divides the context, so that each stage below sees only what it is made of. A stage that copies
# from here is remade when what it copies has changed, not when the sieve has run again.
FROM base AS sieve
WORKDIR /sieve
ARG EXTRAS="tweets redis"
COPY pyproject.toml ./
COPY scripts/requirements.py scripts/
# EXTRAS holds several words.
# hadolint ignore=SC2086
RUN python3 scripts/requirements.py ${EXTRAS} > requirements.txt
COPY README.md LICENSE ./
COPY src src
RUN rm -rf src/augury/bundled


# --- deps: what pip installs, as wheels only: no stage needs a compiler. Left out are the tests of others (34 MB),
# ONNX Runtime's tools for making models (15 MB), and a faster download from the Hugging Face Hub (11 MB), from
# which nothing is downloaded here. All else is compiled to byte code, which a read-only image cannot be later.
FROM base AS deps
COPY --from=sieve /sieve/requirements.txt /opt/augury/requirements.txt
RUN python3 -m pip --python /opt/augury/bin/python install --no-cache-dir --no-compile \
        --disable-pip-version-check --root-user-action ignore \
        --only-binary :all: --requirement /opt/augury/requirements.txt; \
    python3 -m pip --python /opt/augury/bin/python uninstall --yes --quiet hf-xet; \
    python3 -m pip --python /opt/augury/bin/python freeze > /opt/augury/requirements.lock; \
    find /opt/augury/lib -path '*/tests/*' -type f \( -name 'test_*' -o -path '*/data/*' \) -delete; \
    find /opt/augury/lib -path '*/onnxruntime/*' -type d \
        \( -name quantization -o -name tools -o -name transformers \) -prune -exec rm -r {} +; \
    /opt/augury/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/augury/lib


# --- app: the package, without dependencies and without the bundled model
FROM base AS app
COPY --from=sieve /sieve/pyproject.toml /sieve/README.md /sieve/LICENSE /build/
COPY --from=sieve /sieve/src /build/src
RUN python3 -m pip --python /opt/augury/bin/python install --no-cache-dir --no-compile \
        --disable-pip-version-check --root-user-action ignore --no-deps --target /app /build; \
    ln -s /models /app/augury/bundled; \
    /opt/augury/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /app; \
    rm -r /build


# --- model: a model repository and nothing else
FROM scratch AS model
ARG MODELS=src/augury/bundled
COPY ${MODELS} /models


# --- runtime: upon the dependencies, which are large and seldom change, the package, and the model last
FROM deps AS runtime
# APP_ENV=production: logs are JSON unless AUGURY_LOG_FORMAT says otherwise.
ENV PATH=/app/bin:/opt/augury/bin:/usr/local/bin:/usr/bin:/bin \
    APP_ENV=production
# The store lies in the working folder, and so may augury.toml; nothing else is ever written but /tmp.
WORKDIR /data
VOLUME ["/data"]
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
# Alive, not ready: an orchestrator ends what is unhealthy, and a server whose newest model does not load
# still serves the others. Ask /readyz to decide who gets requests.
HEALTHCHECK --interval=15s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, sys, http.client as h; c = h.HTTPConnection('127.0.0.1', int(os.environ.get('AUGURY_HTTP_PORT', 8000)), timeout=2); c.request('GET', '/livez'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["augury"]
CMD ["serve", "--host", "0.0.0.0"]

COPY --from=app /app /app
COPY --from=model /models /models

ARG VERSION=
ARG REVISION=
LABEL org.opencontainers.image.title="Augury" \
      org.opencontainers.image.description="Put a trained model into production and keep it healthy there." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
