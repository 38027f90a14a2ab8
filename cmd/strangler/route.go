package main

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"strangler/proxy"
)

func (c *cli) route() *cobra.Command {
	var headers []string
	address := "192.0.2.1:1234"
	explain := &cobra.Command{
		Use:     "explain METHOD URL",
		Short:   "Say where one request would go at this moment, and why",
		Long:    "Decides the request by the very code that routes. Nothing is sent and nothing changes.",
		Example: "  strangler route explain GET /api/orders/17 -H 'Cookie: session=abc'",
		Args:    exactly("METHOD", "URL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			request := proxy.Request{Method: strings.ToUpper(args[0]), URL: args[1], Headers: http.Header{}, Address: address}
			for _, h := range headers {
				name, value, found := strings.Cut(h, ":")
				if !found {
					return misread(cmd, "-H %q is no header: write 'Name: value'", h)
				}
				request.Headers.Add(strings.TrimSpace(name), strings.TrimSpace(value))
			}
			if err := request.Check(); err != nil {
				return misread(cmd, "%v", err)
			}
			return c.explain(cmd, request)
		},
	}
	explain.Flags().StringArrayVarP(&headers, "header", "H", nil, "header of the request, `Name: value`; may be repeated")
	explain.Flags().Var(client(&address), "address", "address of the client, with or without a port")
	return group(&cobra.Command{Use: "route", Short: "Show what is claimed, and where one request would go"},
		explain, &cobra.Command{Use: "list", Short: "List the claimed routes", Args: exactly(), RunE: c.routes})
}

func (c *cli) explain(cmd *cobra.Command, request proxy.Request) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	defer client.Close()
	var d proxy.Decision
	if err := c.reach(client.Post(cmd.Context(), "/proxy/explain", request, &d)); err != nil {
		return err
	}
	if c.json {
		return c.out.json(d)
	}
	where := "it would not be forwarded"
	if d.Side != "" {
		where = fmt.Sprintf("%s (%s)", d.Side, d.Endpoint)
	}
	c.out.line(c.out.bold(fmt.Sprintf("%s %s → %s", request.Method, request.URL, where)))
	for _, reason := range d.Reasons {
		c.out.line("  " + reason)
	}
	return nil
}

func (c *cli) routes(cmd *cobra.Command, _ []string) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	defer client.Close()
	var routes []proxy.RouteInfo
	if err := c.reach(client.Get(cmd.Context(), "/proxy/routes", &routes)); err != nil {
		return err
	}
	if c.json {
		return c.out.json(routes)
	}
	rows := [][]string{{"CAPABILITY", "METHODS", "PATH", "IF", "CLASS", "TIMEOUT", "OWNER", "WEIGHT"}}
	for _, r := range routes {
		methods, class := strings.Join(r.Methods, ","), string(r.Class)
		if methods == "" {
			methods = "all"
		}
		if class == "" {
			class = "by method"
		}
		rows = append(rows, []string{r.Capability, methods, r.Path, strings.Join(append(hosts(r.Host), r.Conditions...), ", "), class, bound(r.Timeout), string(r.Owner), r.Weight})
	}
	c.out.table(rows)
	c.out.line("everything else goes to the monolith")
	return nil
}

// bound is a timeout in words.
func bound(timeout time.Duration) string {
	if timeout == 0 {
		return "none"
	}
	return short(timeout)
}

// hosts is the host that a route asks for, as one of its conditions.
func hosts(host string) []string {
	if host == "" {
		return nil
	}
	return []string{"host " + host}
}
