# The extracted services of the example, one image each: targets `orders` and `catalog`. Build from the repository's root.
FROM golang:1.26-bookworm AS build
WORKDIR /src/extracted
ENV CGO_ENABLED=0 GOWORK=off GOFLAGS=-trimpath
# The tests' module is named by a replace in go.mod, so its own go.mod has to be there; nothing of it is built.
COPY testbed/go.mod testbed/go.sum /src/testbed/
COPY extracted/go.mod extracted/go.sum ./
RUN go mod download
COPY extracted ./
RUN go build -ldflags "-s -w" -o /out/orders ./orders/cmd/orders
RUN go build -ldflags "-s -w" -o /out/catalog ./catalog/cmd/catalog

FROM gcr.io/distroless/static-debian12:nonroot AS orders
COPY --from=build /out/orders /usr/local/bin/orders
ENTRYPOINT ["/usr/local/bin/orders"]

FROM gcr.io/distroless/static-debian12:nonroot AS catalog
COPY --from=build /out/catalog /usr/local/bin/catalog
ENTRYPOINT ["/usr/local/bin/catalog"]
