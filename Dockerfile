# The image of the gate:   docker build -t portcullis:0.1.0 .
#
# Nothing but the program and the libraries that it is linked with: no shell, no package manager. It runs as a user without a name,
# writes nothing, and so needs no root file system that can be written. Mount the settings at /etc/portcullis.
FROM rust:1.95.0-slim-bookworm AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY benches benches
COPY tests/vectors.rs tests/vectors.rs
COPY src src
# What the demo carries inside.
COPY examples/shop examples/shop
COPY traefik traefik
COPY envoy envoy
RUN cargo build --locked --release --bin portcullis && mkdir /certificates

# libc, libm and libgcc_s of the same Debian, and the public authorities, for a `jwks_url`.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /src/target/release/portcullis /usr/local/bin/portcullis
# For `portcullis certificate --dir /certificates`: a new volume mounted here belongs to the program's user.
COPY --from=build --chown=65532:65532 /certificates /certificates
# By number: then Kubernetes can tell that it is not root.
USER 65532:65532
EXPOSE 7400 7401
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 CMD ["/usr/local/bin/portcullis", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/portcullis"]
CMD ["serve", "--config", "/etc/portcullis/portcullis.yaml"]
