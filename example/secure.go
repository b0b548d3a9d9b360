package main

import (
	"net/http"

	"github.com/unrolled/secure"
)

// secured adds what keeps a browser from being turned against its user: headers that
// allow nothing but the service's own files, and no post from another origin, of which
// another customer's subdomain is one.
func secured(h http.Handler) http.Handler {
	headers := secure.New(secure.Options{
		ContentSecurityPolicy: "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
		FrameDeny:             true,
		ContentTypeNosniff:    true,
		ReferrerPolicy:        "same-origin",
		STSSeconds:            31536000, // said over TLS only
	})
	return headers.Handler(http.NewCrossOriginProtection().Handler(h))
}

// overTLS says whether cookies are for TLS alone. Nobody has a certificate for
// localhost, which never leaves the machine.
const overTLS = domain != "localhost"
