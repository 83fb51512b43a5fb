# syntax=docker/dockerfile:1
FROM rust:1-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked

FROM debian:bookworm-slim
COPY --from=build /src/target/release/flamegate /usr/local/bin/flamegate
COPY configs/container.yaml /etc/flamegate/container.yaml
# any UID of group 0 may run it, and another one later on the same data: both folders are the group's
RUN install -d -o 65532 -g 0 -m 2770 /var/lib/flamegate /var/lib/flamegate/profiles
USER 65532:0
VOLUME /var/lib/flamegate
EXPOSE 4317 4318 4040 13133 8888
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["flamegate", "health"]
ENTRYPOINT ["flamegate"]
CMD ["run", "--config", "/etc/flamegate/container.yaml"]
