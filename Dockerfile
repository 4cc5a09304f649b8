# syntax=docker/dockerfile:1
# Build: docker build -t lethe .    The first build takes about a quarter of an hour: RocksDB and librdkafka.

FROM rust:1.95.0-slim-bookworm AS build
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends make g++ pkg-config libssl-dev zlib1g-dev libclang-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
# The crates alone first, with nothing in the place of lethe's own code: this layer stays until Cargo.lock changes.
COPY Cargo.toml Cargo.lock rust-toolchain.toml ./
COPY .cargo .cargo
COPY proto/Cargo.toml proto/
COPY engine/Cargo.toml engine/
COPY state/Cargo.toml state/
COPY tests/support/Cargo.toml tests/support/
RUN mkdir -p src proto/src engine/src state/src tests/support/src \
    && touch src/lib.rs proto/src/lib.rs engine/src/lib.rs state/src/lib.rs tests/support/src/lib.rs \
    && echo 'fn main() {}' > src/main.rs && cp src/main.rs proto/build.rs \
    && cargo build --release --locked --package lethe
COPY proto proto
COPY engine engine
COPY state state
COPY src src
# Cargo goes by the time of the files: the placeholders are younger than what was just copied.
RUN find src proto engine state -name '*.rs' -exec touch {} + \
    && cargo build --release --locked --package lethe --bin lethe \
    && strip --strip-debug target/release/lethe \
    && mkdir -p /out/data && cp target/release/lethe /out/

FROM gcr.io/distroless/cc-debian12:nonroot AS run
LABEL org.opencontainers.image.title="lethe" \
      org.opencontainers.image.description="Retention, erasure and proof for the messages on a Kafka bus" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0"
COPY --from=build /usr/lib/x86_64-linux-gnu/libz.so.1 /usr/lib/x86_64-linux-gnu/
COPY --from=build /out/lethe /usr/local/bin/lethe
# A volume that is made here belongs to the user who writes to it.
COPY --from=build --chown=65532:65532 /out/data /var/lib/lethe
USER 65532:65532
ENV LETHE_DATA_DIR=/var/lib/lethe LETHE_HTTP=0.0.0.0:9644
VOLUME /var/lib/lethe
EXPOSE 9644
ENTRYPOINT ["/usr/local/bin/lethe"]
CMD ["run"]
