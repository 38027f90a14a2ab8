package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"testbed/consul"
)

// registry is the Consul that has the documents and the monolith's instances, where the run is to have one.
type registry struct {
	agent  *consul.Agent
	client http.Client
}

// prefix is that of the strangler's keys, and of the services.
const prefix = "soak"

// startRegistry starts a server of Consul, which it builds where none was built before: that takes minutes.
func startRegistry(ctx context.Context) (*registry, error) {
	agent, err := consul.Start(ctx, consul.Options{})
	if err != nil {
		return nil, fmt.Errorf("start Consul: %w", err)
	}
	return &registry{agent: agent, client: http.Client{Timeout: 10 * time.Second}}, nil
}

func (r *registry) put(path string, body []byte) error {
	request, err := http.NewRequest(http.MethodPut, "http://"+r.agent.Address()+path, bytes.NewReader(body)) //nolint:noctx // the client's timeout bounds it
	if err != nil {
		return err
	}
	answer, err := r.client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("PUT %s: status %d: %.200s", path, answer.StatusCode, text)
	}
	return err
}

// keep stores a document.
func (r *registry) keep(file, text string) error {
	return r.put("/v1/kv/"+prefix+"/routes/"+file, []byte(text))
}

// register makes servers the instances of a service.
func (r *registry) register(service string, servers []*server) error {
	var errs []error
	for n, s := range servers {
		at, err := url.Parse(s.address)
		if err != nil {
			return err
		}
		var port int
		if _, err := fmt.Sscan(at.Port(), &port); err != nil {
			return err
		}
		instance, err := json.Marshal(map[string]any{"ID": fmt.Sprintf("%s-%d", service, n+1), "Name": service, "Address": at.Hostname(), "Port": port})
		if err != nil {
			return err
		}
		errs = append(errs, r.put("/v1/agent/service/register", instance))
	}
	return errors.Join(errs...)
}

// section is what config.yaml says of it.
func (r *registry) section() string {
	return strings.Join([]string{"store: consul", fmt.Sprintf("consul: {address: %q, prefix: %s, service: %s-proxy}", r.agent.Address(), prefix, prefix), ""}, "\n")
}
