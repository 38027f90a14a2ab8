package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// mint writes NAME.pem and NAME.key, a pair of its own, into the directory.
func mint(t *testing.T, dir, name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}}
	certificate, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, name+".pem"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})))
	put(t, filepath.Join(dir, name+".key"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
}

func put(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Files are looked for beside the file that names them, and each is said to be
// what it is.
func TestNamedFiles(t *testing.T) {
	dir := t.TempDir()
	routes := filepath.Join(dir, "routes")
	if err := os.Mkdir(routes, 0o700); err != nil {
		t.Fatal(err)
	}
	mint(t, dir, "a")
	mint(t, dir, "b")
	mint(t, routes, "c")
	put(t, filepath.Join(dir, "empty.pem"), "")
	put(t, filepath.Join(dir, "torn.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "config.yaml")
	document := strings.Replace(extractedOf("consul: a, tls: {ca: CA, certificate: c.pem, key: c.key}"), "CA", filepath.Join(dir, "a.pem"), 1)

	for _, row := range []struct{ name, config, document, want string }{
		{"all is well", "edge: {tls: {certificates: [{certificate: a.pem, key: a.key}], clients: b.pem, client_certificates: request}}\n" +
			"consul: {tls: {ca: b.pem, certificate: b.pem, key: b.key}}\n", document, ""},
		{"gone", "edge:\n  tls: {certificates: [{certificate: z.pem, key: a.key}]}\n", document,
			"config.yaml:3: edge.tls.certificates[0].certificate = \"z.pem\": DIR/z.pem cannot be read: no such file or directory; write the path of a PEM file that this user may read, relative to DIR"},
		{"no pair", "edge: {tls: {certificates: [{certificate: a.pem, key: b.key}]}}\n", document,
			"config.yaml:2: edge.tls.certificates[0].certificate = \"a.pem\": DIR/a.pem and DIR/b.key are no pair: tls: private key does not match public key"},
		{"empty", "consul: {tls: {ca: empty.pem}}\n", document, "config.yaml:2: consul.tls.ca = \"empty.pem\": DIR/empty.pem holds no certificate"},
		{"a key", "consul: {tls: {ca: a.key}}\n", document, "DIR/a.key holds no certificate"},
		{"torn", "consul: {tls: {ca: torn.pem}}\n", document, "DIR/torn.pem holds a certificate that cannot be read"},
		{"a directory", "consul: {tls: {ca: routes}}\n", document, "DIR/routes is no plain file"},
		{"a pipe that nobody writes to", "consul: {tls: {ca: pipe}}\n", document, "DIR/pipe is no plain file"},
		{"of a document", "", strings.Replace(document, "key: c.key", "key: d.key", 1), "routes/orders.yaml:3: extracted.tls.key = \"d.key\": DIR/routes/d.key cannot be read"},
		{"beside the document alone", "", strings.Replace(document, "c.pem", "a.pem", 1), "extracted.tls.certificate = \"a.pem\": DIR/routes/a.pem cannot be read"},
	} {
		t.Run(row.name, func(t *testing.T) {
			put(t, config, least+row.config)
			contents := map[string][]byte{"orders.yaml": []byte(row.document)}
			if _, problems := Load(config); len(problems) > 0 {
				t.Fatalf("Load looked at the files: %v", problems)
			}
			if _, problems := Documents(routes, contents); len(problems) > 0 {
				t.Fatalf("Documents looked at the files: %v", problems)
			}
			problems := NamedFiles(config, routes, contents)
			if row.want == "" {
				if len(problems) > 0 {
					t.Errorf("got %v", problems)
				}
				return
			}
			if len(problems) != 1 {
				t.Fatalf("want one problem, got %v", problems)
			}
			if got := strings.ReplaceAll(problems[0].String(), dir, "DIR"); !strings.Contains(got, row.want) || problems[0].Mend == "" {
				t.Errorf("got  %s\nwant %s", got, row.want)
			}
		})
	}
}
