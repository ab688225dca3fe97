# The service as an image: built with the shipping profile, run by a user without a
# name in an image without a shell. docker-compose.yml runs it with its database.
#
# A base has a version and a digest; renovate.json moves both. Both are Debian 13:
# the binary is linked against the C library that it will find.

FROM docker.io/library/rust:1.95.0-trixie@sha256:0861191076afc8e2dfcf0bec6ad6c2dec8494b3a1e9249729e1989690afed5ec AS build
WORKDIR /build
COPY . .
# Dependencies are compiled once, into cache mounts that are part of no layer. The
# other way, a layer of dependencies (cargo-chef), takes one more tool, and compiles
# all of them again when one changes. cargo goes by times, and the mount may have
# been filled from another checkout: our own sources are touched, and so compiled.
# `.cargo/config.toml` has SQLX_OFFLINE: no database is needed.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target,sharing=locked \
    find crates -name '*.rs' -exec touch {} + \
    && cargo build --locked --profile dist --package server --bin server \
    && install -D target/dist/server /image/usr/local/bin/server \
    && install -d -o 65532 -g 65532 /image/content

# libc, libgcc_s (which unwinds) and the user 65532. Certificate authorities for TLS
# to Postgres are in the binary (webpki-roots).
FROM gcr.io/distroless/cc-debian13:nonroot@sha256:54df941ed0d06a1bd95ef5e0ce391fd8d9f94b64782dc9a60062727849ee3f97
COPY --from=build /image /
ENV CONTENT_DIR=/content LISTEN=0.0.0.0:8080
# By number, so that an orchestrator can see that it is not root.
USER 65532:65532
VOLUME /content
EXPOSE 8080
STOPSIGNAL SIGTERM
# A liveness probe: three without an answer. While the service starts, none counts.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 \
    CMD ["/usr/local/bin/server", "health"]
# The server itself is the first process: signals reach it.
ENTRYPOINT ["/usr/local/bin/server"]
