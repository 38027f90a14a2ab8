package edge

import (
	"net/http"
	"reflect"
)

// showExpect puts back the header Expect of an HTTP/2 request, which net/http has
// taken out, remembering it in a field of the body that nobody else can see: it
// asks the client for the body when that is first read. A proxy that does not know
// would read at once, and ask for a body that its upstream may not want.
//
// Where there is no such field the header stays away, and the body is asked for at
// once.
func showExpect(r *http.Request) {
	body := reflect.ValueOf(r.Body)
	if r.ContentLength == 0 || body.Kind() != reflect.Pointer || body.Elem().Kind() != reflect.Struct {
		return
	}
	if asked := body.Elem().FieldByName("needsContinue"); asked.Kind() == reflect.Bool && asked.Bool() {
		r.Header["Expect"] = []string{"100-continue"}
	}
}
