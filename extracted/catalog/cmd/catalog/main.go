// Command catalog is the catalog service: `catalog migrate` brings the schema up to date, `catalog serve` does
// that and then serves. See the README beside the package for the environment.
package main

import (
	"fmt"
	"net"
	"os"

	"extracted/catalog"
	"extracted/internal/database"
	"extracted/internal/process"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "catalog:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 || args[0] != "serve" && args[0] != "migrate" {
		return fmt.Errorf("want one verb: serve or migrate")
	}
	ctx, stop := process.Interrupted()
	defer stop()
	log, err := process.Logger(os.Stderr, "catalog")
	if err != nil {
		return err
	}
	url, err := process.Env("DATABASE_URL")
	if err != nil {
		return err
	}
	pool, err := database.Open(ctx, url, "catalog")
	if err != nil {
		return err
	}
	defer pool.Close()
	if err := catalog.Migrate(ctx, pool); err != nil {
		return err
	}
	if args[0] == "migrate" {
		return nil
	}
	service, err := catalog.New(pool, catalog.Config{
		Gateway:      os.Getenv("GATEWAY_URL"),
		ServiceToken: os.Getenv("SERVICE_TOKEN"),
	}, log)
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", process.EnvOr("LISTEN", "127.0.0.1:9002"))
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	return service.Run(ctx, ln)
}
