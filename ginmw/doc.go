// Package ginmw is the gin form of package httpmw: it puts the tenant of a
// request on the context of c.Request.
//
//	tenant, err := ginmw.New(directory, ginmw.Subdomain("myservice.com"))
//	router.Use(tenant)
//	router.GET("/invoices", func(c *gin.Context) {
//		db.WithContext(c.Request.Context()).Find(&invoices)
//	})
//
// Pass c.Request.Context() on, not c: a gin.Context finds the tenant only in an
// engine with ContextWithFallback, and must not be used after the request.
//
// A request without a tenant is answered and aborted, as package httpmw lists:
// no later handler runs.
package ginmw
