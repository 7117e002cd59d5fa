# vtloc on NVIDIA GPUs. CUDA 13 needs driver 580 on the host; for 535 to 570 build with
#   docker build --build-arg CUDA=12 -t vtloc:cu12 .
# Engines are made on the GPU itself, from a bundle with FP16 networks: see docs/tensorrt.md.
FROM python:3.12-slim

ARG CUDA=13

# "video" gives NVDEC, "utility" NVML; the wheels below bring CUDA itself.
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility,video \
    PIP_NO_CACHE_DIR=1 \
    XDG_CACHE_HOME=/cache

WORKDIR /opt/vtloc
COPY pyproject.toml README.md LICENSE CHANGELOG.md ./
COPY vtloc vtloc
COPY export export
COPY runtime runtime
COPY calibration calibration
# The bounds of every package are in pyproject.toml.
# hadolint ignore=DL3013
RUN pip install ".[cpu,search,serve,mcp,tensorrt-cu${CUDA},decode-gpu-cu${CUDA}]" \
    && useradd --create-home --uid 10001 vtloc \
    && install -d -o vtloc -g vtloc /cache

USER 10001
VOLUME /cache
ENTRYPOINT ["vtloc-run"]
CMD ["doctor"]
