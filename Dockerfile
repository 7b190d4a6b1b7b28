# The CPU image. TORCH_INDEX is the address of the package index with torch's CPU builds:
#   docker build --build-arg TORCH_INDEX=ADDRESS -t facekp .
#   docker run --rm -v "$PWD/photos:/work/photos" facekp predict photos out=photos/points
# Without it torch comes from the default index, on Linux as the larger CUDA build; the image works all the same.
FROM python:3.11-slim
ARG TORCH_INDEX=""

# OpenCV's headless wheel needs no system library; git lets a run record the revision of a mounted checkout.
RUN apt-get update && apt-get install -y --no-install-recommends git && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/facekp
COPY requirements-cpu.lock ./
RUN pip install --no-cache-dir ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} -r requirements-cpu.lock

COPY pyproject.toml README.md LICENSE ./
COPY src src
COPY conf conf
RUN pip install --no-cache-dir --no-deps .

WORKDIR /work
ENTRYPOINT ["facekp"]
CMD ["--help"]
