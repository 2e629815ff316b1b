# The program from this source, run by nobody in particular:
#   docker build --tag fedstyle .
#   docker run --rm --volume "$PWD/runs:/work/runs" --user "$(id -u)" fedstyle demo
# deploy/ has what platform, opener and artists run on machines of their own.
FROM python:3.12-slim AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY attacks attacks
COPY configs configs
COPY fedstyle_secure fedstyle_secure
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.12-slim
# pip's default torch brings CUDA along, several GB of it: --build-arg TORCH_INDEX=URL names an index of CPU builds.
ARG TORCH_INDEX=""
RUN pip install --no-cache-dir ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} "torch>=2.8,<2.14"
COPY --from=build /wheels /wheels
RUN pip install --no-cache-dir /wheels/*.whl && rm -r /wheels
# Whoever runs it, with --user too, can write here and into the cache.
RUN useradd --uid 10001 --create-home artist && install -d -m 1777 /work /work/runs /cache
WORKDIR /work
USER artist
ENV FEDSTYLE_CACHE=/cache FLWR_TELEMETRY_ENABLED=0 FLWR_DISABLE_UPDATE_CHECK=1 OMP_NUM_THREADS=1 MPLCONFIGDIR=/tmp
ENTRYPOINT ["fedstyle"]
CMD ["--help"]
