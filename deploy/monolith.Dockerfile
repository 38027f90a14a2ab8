# The monolith of the example. It knows nothing of the toolkit, and neither does its image. Build from the repository's root.
FROM golang:1.26-bookworm AS build
WORKDIR /src/legacy-monolith
ENV CGO_ENABLED=0 GOWORK=off GOFLAGS=-trimpath
# The tests' module is named by a replace in go.mod, so its own go.mod has to be there; nothing of it is built.
COPY testbed/go.mod testbed/go.sum /src/testbed/
COPY legacy-monolith/go.mod legacy-monolith/go.sum ./
RUN go mod download
COPY legacy-monolith ./
RUN go build -ldflags "-s -w" -o /out/shop ./cmd/shop

FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /out/shop /usr/local/bin/shop
ENTRYPOINT ["/usr/local/bin/shop"]
