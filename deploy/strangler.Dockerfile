# The toolkit: one binary for the proxy, the controller and the command line. Build from the repository's root.
FROM golang:1.26-bookworm AS build
WORKDIR /src
ENV CGO_ENABLED=0 GOWORK=off GOFLAGS=-trimpath
# The tests' module is named by a replace in go.mod, so its own go.mod has to be there; nothing of it is built.
COPY go.mod go.sum ./
COPY testbed/go.mod testbed/go.sum testbed/
RUN go mod download
COPY capability capability
COPY cmd cmd
COPY controller controller
COPY internal internal
COPY migrate migrate
COPY proxy proxy
RUN go build -ldflags "-s -w" -o /out/strangler ./cmd/strangler && mkdir /out/state

FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /out/strangler /usr/local/bin/strangler
# The folder that the program writes into, with the owner that a new volume takes over.
COPY --from=build --chown=nonroot:nonroot /out/state /srv/strangler/.strangler
WORKDIR /srv/strangler
ENTRYPOINT ["/usr/local/bin/strangler"]
