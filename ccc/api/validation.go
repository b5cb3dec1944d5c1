package api

import (
	"net/http"
	"regexp"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/validation"
)

// translate is huma's transformer that makes problems of huma's own errors, with our
// codes and without the values, which may be secrets.
func translate(_ huma.Context, _ string, v any) (any, error) {
	e, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	code, ok := map[int]Code{
		http.StatusBadRequest:            CodeMalformed,
		http.StatusRequestTimeout:        CodeTimeout,
		http.StatusRequestEntityTooLarge: CodeTooLarge,
		http.StatusUnsupportedMediaType:  CodeMediaType,
		http.StatusUnprocessableEntity:   CodeInvalid,
	}[e.Status]
	if !ok {
		return problem(CodeInternal, ""), nil
	}
	if code != CodeInvalid {
		return problem(code, ""), nil
	}
	fields := make([]FieldError, len(e.Errors))
	for i, d := range e.Errors {
		fields[i] = fieldError(d.Location, d.Message)
	}
	return problem(code, "", fields...), nil
}

// messages has the codes of huma's messages, which are only known by their texts.
var messages = []struct {
	format string
	code   FieldCode
}{
	{validation.MsgUnexpectedProperty, FieldUnknown},
	{unknownParameter, FieldUnknown},
	{validation.MsgExpectedBoolean, FieldType},
	{validation.MsgExpectedNumber, FieldType},
	{validation.MsgExpectedInteger, FieldType},
	{validation.MsgExpectedString, FieldType},
	{validation.MsgExpectedArray, FieldType},
	{validation.MsgExpectedObject, FieldType},
	{"invalid integer", FieldType},
	{validation.MsgExpectedMinLength, FieldTooShort},
	{validation.MsgExpectedMaxLength, FieldTooLong},
	{validation.MsgExpectedMaxItems, FieldTooMany},
	{validation.MsgExpectedArrayItemsUnique, FieldDuplicate},
	{validation.MsgExpectedBePattern, FieldPattern},
	{validation.MsgExpectedOneOf, FieldEnum},
	{validation.MsgExpectedMinimumNumber, FieldRange},
	{validation.MsgExpectedMaximumNumber, FieldRange},
}

// unknownParameter is what huma says about parameters that an operation does not have.
const unknownParameter = "unknown query parameter"

var required = regexp.MustCompile("^" + strings.Replace(regexp.QuoteMeta(validation.MsgExpectedRequiredProperty), "%s", "([a-z_]+)", 1) + "$")

// fieldError makes our form of one of huma's errors.
func fieldError(location, message string) FieldError {
	if m := required.FindStringSubmatch(message); m != nil {
		return FieldError{location + "." + m[1], FieldRequired, "is missing"}
	}
	for _, known := range messages {
		text, _, _ := strings.Cut(known.format, "%")
		if message == known.format || text != "" && len(text) < len(known.format) && strings.HasPrefix(message, text) {
			return FieldError{location, known.code, message}
		}
	}
	return FieldError{location, FieldInvalid, message}
}
