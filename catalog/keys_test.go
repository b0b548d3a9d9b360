package catalog_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/catalog"
)

// secretBytes are 32 bytes that are easy to find in any form of output.
const secretBytes = "this-is-the-secret-of-a-test-key"

// secretForms are the forms in which fmt and encodings would show secretBytes.
func secretForms() []string {
	return []string{
		secretBytes[:8],
		fmt.Sprintf("%x", secretBytes)[:16],
		fmt.Sprintf("%X", secretBytes)[:16],
		strings.Trim(fmt.Sprintf("%d", []byte(secretBytes[:8])), "[]"),
		strings.Trim(fmt.Sprintf("%x", []byte(secretBytes[:8])), "[]"),
		strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", []byte(secretBytes[:8])), "[]byte{"), "}"),
		base64.StdEncoding.EncodeToString([]byte(secretBytes))[:10],
	}
}

// mustHide fails if text shows secretBytes in any form.
func mustHide(t testing.TB, what, text string, secrets ...string) {
	t.Helper()
	for _, s := range append(secrets, secretForms()...) {
		if strings.Contains(text, s) {
			t.Errorf("%s shows %q: %s", what, s, text)
		}
	}
}

// verbs are those with which somebody may print something.
func verbs() []string {
	return []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%o", "%b", "%t", "%U"}
}

// mustPrintWithout prints v with every verb and as JSON.
func mustPrintWithout(t testing.TB, what string, v any, secrets ...string) {
	t.Helper()
	for _, verb := range verbs() {
		mustHide(t, what+" as "+verb, fmt.Sprintf(verb, v), secrets...)
	}
	mustHide(t, what+" by Sprint", fmt.Sprint(v)+fmt.Sprintln(v), secrets...)
	text, err := json.Marshal(v)
	if err != nil {
		text = []byte(err.Error())
	}
	mustHide(t, what+" as JSON", string(text), secrets...)
}

func secretKey(t testing.TB) catalog.Key {
	t.Helper()
	key, err := catalog.NewKey("2027", []byte(secretBytes))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestAKeyShowsItsIDAlone(t *testing.T) {
	t.Parallel()
	key := secretKey(t)
	ring := catalog.FixedKeys{key}
	if got := fmt.Sprint(key); got != `key "2027"` {
		t.Errorf("it prints %s", got)
	}
	if key.ID() != "2027" {
		t.Errorf("its id is %q", key.ID())
	}
	type public struct{ Key catalog.Key }
	type private struct { // fmt asks no methods of what is not exported
		key  catalog.Key
		ring catalog.FixedKeys
	}
	for what, v := range map[string]any{
		"a key": key, "its address": &key, "a ring": ring, "a ring's address": &ring,
		"a map": map[string]catalog.Key{"a": key}, "a field": public{key}, "a field's address": &public{key},
		"a hidden field": private{key, ring}, "a hidden field's address": &private{key, ring},
	} {
		mustPrintWithout(t, what, v)
	}
}

func TestNewKeyWantsAnIDAnd32Bytes(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"", "A", "a b", "a:b", "ä", strings.Repeat("a", 33)} {
		if _, err := catalog.NewKey(id, make([]byte, 32)); err == nil {
			t.Errorf("id %q is taken", id)
		}
	}
	if _, err := catalog.NewKey(strings.Repeat("a", 32), make([]byte, 32)); err != nil {
		t.Error(err)
	}
	for _, size := range []int{0, 16, 31, 33} {
		_, err := catalog.NewKey("k", make([]byte, size))
		mustSay(t, err, "32", fmt.Sprint(size))
	}
	_, err := catalog.NewKey("k", []byte(secretBytes+"!"))
	mustHide(t, "the error", err.Error())
}

func TestEnvKeysReadsKeysNewestFirst(t *testing.T) {
	one, two := base64.StdEncoding.EncodeToString([]byte(secretBytes)), base64.StdEncoding.EncodeToString(make([]byte, 32))
	for text, want := range map[string][]string{
		"":                              nil,
		"k1:" + one:                     {"k1"},
		"k2:" + two + ",k1:" + one:      {"k2", "k1"},
		" k2:" + two + " ,\n k1:" + one: {"k2", "k1"},
	} {
		t.Setenv("TENANTRY_TEST_KEYS", text)
		keys, err := catalog.EnvKeys("TENANTRY_TEST_KEYS")
		if err != nil {
			t.Errorf("%q: %v", text, err)
		}
		var ids []string
		for _, k := range keys {
			ids = append(ids, k.ID())
		}
		if fmt.Sprint(ids) != fmt.Sprint(want) {
			t.Errorf("%q: got %v, want %v", text, ids, want)
		}
	}
}

func TestEnvKeysNeverRepeatsAWrongKey(t *testing.T) {
	good := base64.StdEncoding.EncodeToString([]byte(secretBytes))
	hexed := strings.Repeat("0123456789abcdef", 2) // has the form of an id
	for name, text := range map[string]string{
		"no colon":              good,
		"no id":                 ":" + good,
		"an id in upper case":   "K:" + good,
		"not base64":            "k:" + secretBytes,
		"cut off":               "k:" + good[:20],
		"unpadded":              "k:" + strings.TrimRight(good, "="),
		"a byte too many":       "k:" + base64.StdEncoding.EncodeToString([]byte(secretBytes+"x")),
		"id and secret swapped": hexed + ":2027",
		"an empty entry":        "k:" + good + ",",
		"an id twice":           "k:" + good + ",k:" + good,
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("TENANTRY_TEST_KEYS", text)
			keys, err := catalog.EnvKeys("TENANTRY_TEST_KEYS")
			if keys != nil {
				t.Errorf("got %v", keys)
			}
			mustSay(t, err, "TENANTRY_TEST_KEYS")
			mustHide(t, "the error", err.Error(), hexed, good[:8])
		})
	}
}

func TestEnvKeysTellsWhichKeyIsWrong(t *testing.T) {
	t.Setenv("TENANTRY_TEST_KEYS", "k:"+base64.StdEncoding.EncodeToString([]byte(secretBytes))+",nonsense")
	_, err := catalog.EnvKeys("TENANTRY_TEST_KEYS")
	mustSay(t, err, "key 2")
}
