package main

import (
	"bytes"
	"embed"
	"html/template"
	"log/slog"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"
)

//go:embed pages
var files embed.FS

// page is what every page needs besides its own data.
type page struct {
	Title  string
	Tenant string // whose page it is; "" on the bare domain
	Data   any
}

// pages renders the templates in the folder of that name, each inside of the layout.
type pages map[string]*template.Template

func newPages() (pages, error) {
	names, err := files.ReadDir("pages")
	if err != nil {
		return nil, err
	}
	all := pages{}
	for _, n := range names {
		name, ok := strings.CutSuffix(n.Name(), ".html")
		if !ok || name == "layout" || name == "form" {
			continue
		}
		if all[name], err = template.ParseFS(files, "pages/layout.html", "pages/form.html", "pages/"+n.Name()); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// render answers with a page. It is whole, or an error.
func (p pages) render(c *gin.Context, status int, name string, content page) {
	var b bytes.Buffer
	if err := p[name].ExecuteTemplate(&b, "layout.html", content); err != nil {
		slog.ErrorContext(c.Request.Context(), "page failed", "page", name, "error", err)
		c.AbortWithStatus(http.StatusInternalServerError)
		return
	}
	c.Header("Cache-Control", "no-store")
	c.Data(status, "text/html; charset=utf-8", b.Bytes())
}

// serveFiles serves what pages link to.
func serveFiles(r *gin.Engine) {
	for _, name := range []string{"icon.svg", "style.css", "signup.js", "operator.js"} {
		r.StaticFileFS("/"+name, "pages/"+name, http.FS(files))
	}
}

// wantsPage reports whether the client is a browser rather than a program.
func wantsPage(c *gin.Context) bool {
	return c.NegotiateFormat(gin.MIMEJSON, gin.MIMEHTML) == gin.MIMEHTML
}

// isForm reports whether the body is a form's.
func isForm(r *http.Request) bool {
	return strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded")
}
