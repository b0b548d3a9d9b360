package httpmw_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/tenantry/tenantry/httpmw"
	"github.com/tenantry/tenantry/scope"
)

// get asks h for a URL and prints what it answers.
func get(h http.Handler, url string) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, url, nil))
	fmt.Println(w.Code, w.Body)
}

func acme() scope.Tenant {
	t, err := scope.Parse("acme")
	if err != nil {
		log.Fatal(err)
	}
	return t
}

func hello(w http.ResponseWriter, r *http.Request) {
	t, err := scope.From(r.Context())
	if err != nil {
		http.Error(w, "no tenant", http.StatusInternalServerError)
		return
	}
	_, _ = fmt.Fprintf(w, "hello %s", t)
}

func ExampleNew() {
	tenant, err := httpmw.New(httpmw.Fixed(acme()), httpmw.Subdomain("myservice.com"))
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /hello", tenant(http.HandlerFunc(hello)))

	get(mux, "http://acme.myservice.com/hello")
	get(mux, "http://globex.myservice.com/hello")
	get(mux, "http://myservice.com/hello")
	// Output:
	// 200 hello acme
	// 404 {"error":"unknown tenant"}
	//
	// 400 {"error":"no tenant named"}
}

func ExampleFirst() {
	tenant, err := httpmw.New(httpmw.Fixed(acme()), httpmw.First(
		httpmw.Subdomain("myservice.com"),
		httpmw.PathParam("tenant"),
	))
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /hello", tenant(http.HandlerFunc(hello)))
	mux.Handle("GET /t/{tenant}/hello", tenant(http.HandlerFunc(hello)))

	get(mux, "http://acme.myservice.com/hello")
	get(mux, "http://localhost:8080/t/acme/hello")
	// Output:
	// 200 hello acme
	// 200 hello acme
}

// domains is a directory that knows acme by its own domain too.
type domains struct{ httpmw.Directory }

func (d domains) Lookup(ctx context.Context, ref httpmw.Ref) (scope.Tenant, error) {
	if ref.Kind == httpmw.KindHost && ref.Value == "portal.acme.com" {
		return acme(), nil
	}
	return d.Directory.Lookup(ctx, ref)
}

func ExampleHost() {
	tenant, err := httpmw.New(domains{httpmw.Fixed(acme())}, httpmw.First(
		httpmw.Subdomain("myservice.com"), // first: nobody's own domain lies below it
		httpmw.Host(),
	))
	if err != nil {
		log.Fatal(err)
	}
	h := tenant(http.HandlerFunc(hello))

	get(h, "http://acme.myservice.com/")
	get(h, "http://portal.acme.com/")
	get(h, "http://portal.globex.com/")
	// Output:
	// 200 hello acme
	// 200 hello acme
	// 404 {"error":"unknown tenant"}
}

func ExampleWithAnswer() {
	answer := func(w http.ResponseWriter, r *http.Request, status int, err error) {
		if errors.Is(err, httpmw.ErrUnknown) {
			http.Redirect(w, r, "https://myservice.com/signup", http.StatusSeeOther)
			return
		}
		httpmw.Answer(w, r, status, err)
	}
	tenant, err := httpmw.New(httpmw.Fixed(acme()), httpmw.Subdomain("myservice.com"), httpmw.WithAnswer(answer))
	if err != nil {
		log.Fatal(err)
	}
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "http://globex.myservice.com/", nil)
	tenant(http.HandlerFunc(hello)).ServeHTTP(w, r)
	fmt.Println(w.Code, w.Header().Get("Location"))
	// Output: 303 https://myservice.com/signup
}
