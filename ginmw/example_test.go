package ginmw_test

import (
	"fmt"
	"log"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/tenantry/tenantry/ginmw"
	"github.com/tenantry/tenantry/httpmw"
	"github.com/tenantry/tenantry/scope"
)

func acme() scope.Tenant {
	t, err := scope.Parse("acme")
	if err != nil {
		log.Fatal(err)
	}
	return t
}

func ExampleNew() {
	tenant, err := ginmw.New(httpmw.Fixed(acme()), ginmw.Subdomain("myservice.com"))
	if err != nil {
		log.Fatal(err)
	}
	router := gin.New()
	router.Use(tenant)
	router.GET("/hello", func(c *gin.Context) {
		t, err := scope.From(c.Request.Context()) // or db.WithContext(c.Request.Context())
		if err != nil {
			c.AbortWithStatus(http.StatusInternalServerError)
			return
		}
		c.String(http.StatusOK, "hello %s", t)
	})

	for _, host := range []string{"acme.myservice.com", "globex.myservice.com"} {
		w := get(router, "http://"+host+"/hello")
		fmt.Println(w.Code, w.Body)
	}
	// Output:
	// 200 hello acme
	// 404 {"error":"unknown tenant"}
}

func ExampleFunc() {
	// authenticate stands for the middleware that reads and checks the token.
	authenticate := func(c *gin.Context) { c.Set("tenant", "acme") }
	tenant, err := ginmw.New(httpmw.Fixed(acme()), ginmw.Func(func(c *gin.Context) (string, error) {
		return c.GetString("tenant"), nil
	}))
	if err != nil {
		log.Fatal(err)
	}
	router := gin.New()
	router.Use(authenticate, tenant)
	router.GET("/hello", greet)

	fmt.Println(get(router, "/hello").Body)
	// Output: acme
}

func ExampleWithAnswer() {
	tenant, err := ginmw.New(httpmw.Fixed(acme()), ginmw.Subdomain("myservice.com"),
		ginmw.WithAnswer(func(c *gin.Context, status int, err error) {
			_ = c.Error(err) // for gin's logger
			c.JSON(status, gin.H{"problem": http.StatusText(status)})
		}))
	if err != nil {
		log.Fatal(err)
	}
	router := gin.New()
	router.Use(tenant)
	router.GET("/hello", greet)

	w := get(router, "http://globex.myservice.com/hello")
	fmt.Println(w.Code, w.Body)
	// Output: 404 {"problem":"Not Found"}
}
